"""Jobs of lab queues: who gets which, under which lease, and how they end."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from queue_house import new_queue_job, pop, push
from store_house import PLENTY, SECOND, MovingClock, Opener, create, kinds, make_worker

from runner_service.domain.errors import AlreadyExists, JobExists, JobFinished, JobNotFound, QueueFull
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import JobState
from runner_service.domain.outcomes import OutcomeKind
from runner_service.domain.queues import Attachments, PopRequest, Search, labels_for
from runner_service.ports.store import AnswerKey, Mark
from runner_service.store import SqlStore


async def test_a_pushed_job_is_a_job_like_any_other_and_waits(store: SqlStore) -> None:
    pushed = await push(store, client_id="me", fields={"tags": {"fast": ""}})
    job_id = pushed.job.job_id
    assert await store.queues.get(job_id) == pushed
    assert (await store.jobs.get(job_id)) == pushed.job
    assert (pushed.word, pushed.client_id, pushed.agent) == ("waiting", "me", "")
    assert await kinds(store, pushed.job) == ["created"]
    with pytest.raises(JobNotFound):
        await store.queues.get((await create(store)).job_id)


async def test_priority_goes_first_then_age_whatever_the_order_of_the_queues(
    store: SqlStore, clock: MovingClock
) -> None:
    first = await push(store, "b")
    clock.advance(1)
    second = await push(store, "a")
    urgent = await push(store, "b", fields={"priority": 5})
    await push(store, "c")
    popped = [await pop(store, "a", "b") for _ in range(4)]
    assert popped == [urgent.job.job_id, first.job.job_id, second.job.job_id, ""]


async def test_a_pop_moves_the_job_and_opens_a_lease(store: SqlStore, clock: MovingClock) -> None:
    pushed = await push(store)
    clock.advance(7)
    popped = await store.queues.pop(PopRequest(queues=("lab",), agent="agent-1"))
    assert popped is not None and popped == await store.queues.get(pushed.job.job_id)
    assert (popped.word, popped.agent, popped.lease_until) == ("running", "agent-1", clock.now() + 100 * SECOND)
    assert (popped.job.state, popped.job.started_at, popped.job.runner_id) == (
        JobState.RUNNING,
        clock.now(),
        "agent:agent-1",
    )
    assert await kinds(store, pushed.job) == ["created", "assigned", "running"]
    assert await store.queues.waits([], limit=9) == {"lab": [7.0]}


async def test_what_an_agent_says_again_late_does_not_undo_what_it_said_since(
    store: SqlStore, clock: MovingClock
) -> None:
    job_id = (await push(store)).job.job_id
    await store.queues.pop(PopRequest(queues=("lab",), agent="agent-1"))
    setup, lease = (Mark(AnswerKey("ann", f"/{name}", "r-1"), "this") for name in ("report", "renew"))

    async def say() -> None:
        await store.queues.post_result(job_id, {"setup_status": "0"}, word="setup", mark=setup)
        await store.queues.renew(job_id, agent="agent-1", lease_seconds=5, mark=lease)

    await say()
    await store.queues.post_result(job_id, {"setup_status": "1"}, word="test")
    await store.queues.renew(job_id, agent="agent-1", lease_seconds=900)
    clock.advance(7)
    before = await store.queues.get(job_id)
    await say()
    assert await store.queues.get(job_id) == before
    assert (before.word, await store.queues.results(job_id)) == ("test", {"setup_status": "1"})
    with pytest.raises(AlreadyExists):
        await store.queues.renew(job_id, agent="agent-1", mark=lease._replace(fingerprint="that"))


async def test_excluded_agents_and_missing_attachments_are_honoured(store: SqlStore) -> None:
    barred = await push(store, exclude=("agent-1", "agent-2"))
    waits = await push(store, attachments=Attachments.WAITING)
    assert [await pop(store, agent="agent-1"), await pop(store, agent="agent-2")] == ["", ""]
    assert await pop(store, agent="agent-3") == barred.job.job_id
    assert await pop(store, agent="agent-3") == ""
    await store.queues.set_attachments(waits.job.job_id, Attachments.COMPLETE)
    assert await pop(store, agent="agent-1") == waits.job.job_id
    assert (await store.queues.get(waits.job.job_id)).attachments is Attachments.COMPLETE


async def test_ordinary_runners_and_agents_keep_to_their_own_jobs(store: SqlStore) -> None:
    plain = await create(store)
    lab = await push(store)
    stranger = await make_worker(store, labels={"os": "linux"})
    assert [one.job.job_id for one in await stranger.claim(9)] == [plain.job_id]
    other = await create(store)
    assert await pop(store) == lab.job.job_id
    assert await pop(store) == ""
    again = await push(store)
    serving = await make_worker(store, labels=labels_for(["lab"], "ours"))
    assert {one.job.job_id for one in await serving.claim(9)} == {other.job_id, again.job.job_id}


async def test_a_storm_of_agents_gets_each_job_once(store: SqlStore, reopen: Opener) -> None:
    pushed = await asyncio.gather(*(push(store, f"q{number % 3}") for number in range(300)))
    got: Counter[str] = Counter()

    async def agent(name: str, at: SqlStore) -> None:
        while job_id := await pop(at, "q0", "q1", "q2", agent=name):
            got[job_id] += 1

    if store.shared:
        async with reopen() as other:
            await asyncio.gather(*(agent(f"a{number}", (store, other)[number % 2]) for number in range(50)))
    else:
        await asyncio.gather(*(agent(f"a{number}", store) for number in range(50)))
    assert got == Counter({one.job.job_id: 1 for one in pushed})


async def test_a_job_id_posted_twice_is_one_job(store: SqlStore) -> None:
    new = new_queue_job()
    answers = await asyncio.gather(*(store.queues.push(new, queue_limit=PLENTY) for _ in range(5)))
    assert sorted(made for _, made in answers) == [False] * 4 + [True]
    assert [await pop(store), await pop(store)] == [new.job.job_id, ""]


async def test_an_agent_that_posts_its_job_again_gives_it_back(store: SqlStore) -> None:
    new = new_queue_job()
    await store.queues.push(new, queue_limit=PLENTY)
    assert await pop(store)
    same, made = await store.queues.push(new, queue_limit=PLENTY)
    assert (same.word, made) == ("running", False)
    new = replace(new, give_back=True)
    await store.queues.post_result(new.job.job_id, {}, word="provision")
    again, made = await store.queues.push(new, queue_limit=PLENTY)
    assert (again.word, made, again.job.state) == ("waiting", False, JobState.QUEUED)
    assert await pop(store, agent="other") == new.job.job_id
    await store.queues.post_result(new.job.job_id, {}, word="complete")
    with pytest.raises(JobFinished):
        await store.queues.push(new, queue_limit=PLENTY)


async def test_what_cannot_be_pushed_leaves_others_alone(store: SqlStore) -> None:
    plain = await create(store)
    taken = new_queue_job(fields={"job_id": plain.job_id})
    results = await asyncio.gather(
        store.queues.push(new_queue_job(), queue_limit=2),
        store.queues.push(taken, queue_limit=2),
        store.queues.push(new_queue_job(), queue_limit=2),
        return_exceptions=True,
    )
    assert [type(one) for one in results] == [tuple, JobExists, QueueFull]


async def test_the_codes_of_the_phases_say_how_a_job_ended(store: SqlStore) -> None:
    fine, broken = await push(store), await push(store)
    for job, status in ((fine, "0"), (broken, "46")):
        assert await pop(store) == job.job.job_id
        await store.queues.post_result(job.job.job_id, {"provision_status": "0"}, word="provision")
        ended = await store.queues.post_result(job.job.job_id, {"test_status": status}, word="complete")
        assert ended is not None and ended.word == "complete" and ended.lease_until is None
    assert (await store.jobs.get(fine.job.job_id)).state is JobState.SUCCEEDED
    failed = await store.jobs.get(broken.job.job_id)
    assert failed.outcome is not None
    assert (failed.state, failed.outcome.exit_code, failed.outcome.detail) == (JobState.FAILED, 46, "test")


async def test_terminal_is_final_and_results_are_still_kept(store: SqlStore) -> None:
    job_id = (await push(store)).job.job_id
    await pop(store)
    await store.queues.post_result(job_id, {"test_status": "0"}, word="complete")
    late = await store.queues.post_result(job_id, {"test_output": '"late"'}, word="test")
    assert late is not None and (late.word, late.job.state) == ("complete", JobState.SUCCEEDED)
    assert await store.queues.results(job_id) == {"test_status": "0", "test_output": '"late"'}


async def test_a_cancel_while_running_stays_whatever_the_agent_posts(store: SqlStore) -> None:
    job_id = (await push(store)).job.job_id
    await pop(store)
    await store.jobs.cancel(job_id, by="user", reason="")
    for word, state in (("test", JobState.RUNNING), ("complete", JobState.CANCELLED), ("test", JobState.CANCELLED)):
        found = await store.queues.post_result(job_id, {}, word=word)
        assert found is not None and (found.word, found.job.state) == ("cancelled", state)
    with pytest.raises(JobFinished):
        await store.queues.push(new_queue_job(fields={"job_id": job_id}), queue_limit=PLENTY)


async def test_words_for_a_job_that_nobody_has_change_nothing(store: SqlStore) -> None:
    job_id = (await push(store)).job.job_id
    found = await store.queues.post_result(job_id, {}, word="complete")
    assert found is not None and found.word == "waiting"
    assert await pop(store) == job_id


async def test_results_of_an_id_without_a_job_are_kept_number_exact(store: SqlStore) -> None:
    job_id = new_id()
    assert await store.queues.post_result(job_id, {"device_info": '{"x": 1.10}', "exit_code": "0"}, word=None) is None
    await store.queues.post_result(job_id, {"exit_code": "123456789012345678901"}, word=None)
    assert await store.queues.results(job_id) == {
        "device_info": '{"x": 1.10}',
        "exit_code": "123456789012345678901",
    }


async def test_a_lease_that_runs_out_ends_the_job_and_shows_the_agent_lost(store: SqlStore, clock: MovingClock) -> None:
    await store.lab_agents.post("agent-1", {"state": "waiting"})
    job_id = (await push(store)).job.job_id
    await pop(store)
    clock.advance(99)
    await store.queues.renew(job_id, agent="stranger")
    assert await store.queues.expire(requeue=False) == []
    await store.queues.renew(job_id, agent="agent-1")
    clock.advance(99)
    assert await store.queues.expire(requeue=False) == []
    clock.advance(2)
    (lost,) = await store.queues.expire(requeue=False)
    assert lost.job.job_id == job_id
    job = await store.jobs.get(job_id)
    assert job.outcome is not None and (job.state, job.outcome.kind) == (JobState.LOST, OutcomeKind.LOST)
    assert (await store.queues.get(job_id)).word == "complete"
    agent = await store.lab_agents.get("agent-1")
    assert (agent.shown_state, agent.state) == ("offline", "waiting")
    await store.lab_agents.post("agent-1", {})
    assert (await store.lab_agents.get("agent-1")).shown_state == "waiting"


async def test_what_its_agent_posts_about_itself_renews_the_lease(store: SqlStore, clock: MovingClock) -> None:
    job_id = (await push(store)).job.job_id
    await pop(store, lease_seconds=20)
    clock.advance(15)
    await store.lab_agents.post("agent-1", {"job_id": job_id})
    clock.advance(15)
    await store.lab_agents.post("agent-2", {"job_id": job_id})
    assert await store.queues.expire(requeue=False) == []
    clock.advance(6)
    assert len(await store.queues.expire(requeue=False)) == 1


async def test_a_lost_job_may_wait_again_but_not_for_ever(store: SqlStore, clock: MovingClock) -> None:
    job_id = (await push(store)).job.job_id
    for _ in range(3):
        assert await pop(store) == job_id
        clock.advance(101)
        assert len(await store.queues.expire(requeue=True)) == 1
    assert await pop(store) == ""
    assert (await store.jobs.get(job_id)).state is JobState.LOST


async def test_a_cancelled_job_of_a_lost_agent_ends_cancelled(store: SqlStore, clock: MovingClock) -> None:
    job_id = (await push(store)).job.job_id
    await pop(store)
    await store.jobs.cancel(job_id, by="user", reason="")
    clock.advance(101)
    await store.queues.expire(requeue=True)
    assert (await store.jobs.get(job_id)).state is JobState.CANCELLED


async def test_a_server_that_was_away_blames_nobody(store: SqlStore, clock: MovingClock) -> None:
    await push(store)
    await pop(store)
    clock.advance(1000)
    await store.queues.renew_all()
    assert await store.queues.expire(requeue=False) == []


async def test_the_place_counts_waiting_jobs_of_the_queue(store: SqlStore) -> None:
    first, second = await push(store), await push(store, exclude=("x",))
    await push(store, "other", fields={"priority": 9})
    await push(store, fields={"priority": 1})
    assert await store.queues.position(second.job.job_id) == 2
    await pop(store)
    assert await store.queues.position(first.job.job_id) == 0
    assert await store.queues.position(second.job.job_id) == 1


async def test_search_finds_by_tags_words_and_queue(store: SqlStore) -> None:
    one = (await push(store, "a", fields={"tags": {"x": "", "y": ""}})).job.job_id
    two = (await push(store, "a", fields={"tags": {"y": ""}})).job.job_id
    three = (await push(store, "b")).job.job_id
    assert await pop(store, "a") == one
    await store.queues.post_result(one, {}, word="reserve")

    async def found(**conditions: object) -> list[str]:
        return [job.job_id for job in await store.queues.search(Search(**conditions))]  # type: ignore[arg-type]

    assert await found() == [one, two, three]
    assert await found(tags=("x", "y")) == [one, two]
    assert await found(tags=("x", "y"), all_tags=True) == [one]
    assert await found(words=frozenset({"waiting"})) == [two, three]
    assert await found(words=frozenset({"reserve"}), queue="a") == [one]
    assert await found(words=frozenset({"test"})) == []
    await store.queues.post_result(one, {}, word="a word of its own")
    assert await found(words=frozenset({"running"})) == [one]
    assert await found(words=frozenset({"running", "waiting"})) == [one, two, three]
    await store.queues.post_result(one, {}, word="complete")
    await store.jobs.cancel(two, by="", reason="")
    assert await found(words=frozenset({"complete"})) == [one]
    assert await found(words=frozenset({"cancelled"})) == [two]
    assert await pop(store, "b") == three
    await store.jobs.cancel(three, by="", reason="")
    assert await found(words=frozenset({"running"})) == []
    assert await found(words=frozenset({"cancelled"})) == [two, three]


async def test_waits_do_not_wrap_after_a_day_and_are_those_of_the_latest_jobs(
    store: SqlStore, clock: MovingClock
) -> None:
    for seconds in (1, 2, 3 * 86_400 + 4):
        await push(store)
        clock.advance(seconds)
        await pop(store)
    assert await store.queues.waits(["lab", "unknown"], limit=2) == {"lab": [259_204.0, 2.0]}


async def test_a_job_goes_with_all_that_its_queue_knows_of_it(store: SqlStore, clock: MovingClock) -> None:
    job_id = (await push(store)).job.job_id
    await pop(store)
    await store.queues.post_result(job_id, {}, word="complete")
    clock.advance(10)
    assert (await store.jobs.expire(finished_before=clock.now(), limit=9)).jobs == 1
    assert await store.queues.search(Search()) == []
    assert await store.queues.waits([], limit=9) == {}
