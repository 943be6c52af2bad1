"""Who gets which job."""

from __future__ import annotations

import asyncio

from store_house import MovingClock, Opener, create, kinds, make_job, make_runner, make_worker, running

from runner_service.domain.dispatch import Want
from runner_service.domain.jobs import AttemptState, JobState
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.store import SqlStore


async def test_priority_goes_first_then_age(store: SqlStore, clock: MovingClock) -> None:
    old = await create(store)
    clock.advance(1)
    young = await create(store)
    urgent = await create(store, priority=1)
    lazy = await create(store, priority=-1)
    worker = await make_worker(store)
    taken = [(await worker.claim())[0].job.job_id for _ in range(4)]
    assert taken == [job.job_id for job in (urgent, old, young, lazy)]
    assert list(await worker.claim()) == []


async def test_an_assignment_is_stamped_moved_and_recorded(store: SqlStore, clock: MovingClock) -> None:
    job = await create(store, spec={"required_labels": {"os": "linux"}})
    worker = await make_worker(store, labels={"os": "linux", "arch": "arm"})
    clock.advance(3)
    (assignment,) = await worker.claim(5)
    attempt = assignment.attempt
    assert assignment.job == await store.jobs.get(job.job_id)
    assert attempt == await store.jobs.attempt(attempt.attempt_id)
    assert (attempt.number, attempt.fence, attempt.state) == (1, 1, AttemptState.ASSIGNED)
    assert (attempt.assigned_at, attempt.started_at) == (clock.now(), None)
    assert (assignment.job.state, assignment.job.attempts, assignment.job.fence) == (JobState.ASSIGNED, 0, 1)
    assert (assignment.job.attempt_id, assignment.job.runner_id) == (attempt.attempt_id, worker.runner_id)
    assert assignment.job.spec == job.spec
    assert await kinds(store, job) == ["created", "assigned"]


async def test_labels_are_required_and_order_holds_across_them(store: SqlStore) -> None:
    gpu = await create(store, spec={"required_labels": {"gpu": "1"}})
    plain = await create(store)
    both = await create(store, spec={"required_labels": {"gpu": "1", "os": "linux"}}, priority=1)
    impossible = await create(store, spec={"required_labels": {"gpu": "2"}}, priority=9)
    small = await make_worker(store, labels={"os": "linux"})
    large = await make_worker(store, labels={"os": "linux", "gpu": "1"})
    assert [one.job.job_id for one in await large.claim(2)] == [both.job_id, gpu.job_id]
    assert [one.job.job_id for one in await small.claim(5)] == [plain.job_id]
    assert (await store.jobs.get(impossible.job_id)).state is JobState.QUEUED


async def test_one_claim_serves_many_wants_and_gives_a_job_once(store: SqlStore) -> None:
    gpu = [await create(store, spec={"required_labels": {"gpu": "1"}}) for _ in range(2)]
    plain = [await create(store) for _ in range(3)]
    wants = [
        Want(runner_id=make_runner().runner_id, labels={}, count=2),
        Want(runner_id=make_runner().runner_id, labels={"gpu": "1"}, count=3),
        Want(runner_id=make_runner().runner_id, labels={"gpu": "2"}, count=0),
    ]
    given = await store.dispatch.claim(wants)
    assert {one.job.job_id for one in given} == {job.job_id for job in gpu + plain}
    by_runner = [[one for one in given if one.attempt.runner_id == want.runner_id] for want in wants]
    assert [len(one) for one in by_runner] == [2, 3, 0]
    assert list(await store.dispatch.claim([])) == []


async def test_nobody_goes_without_because_another_could_take_all_of_the_oldest(store: SqlStore) -> None:
    oldest = await create(store, spec={"required_labels": {"gpu": "1"}})
    await create(store, spec={"required_labels": {"os": "linux"}})
    theirs = await create(store, spec={"required_labels": {"gpu": "2"}})
    wants = [
        Want(runner_id=make_runner().runner_id, labels=labels, count=1)
        for labels in ({"gpu": "1", "os": "linux"}, {"gpu": "2"})
    ]
    given = await store.dispatch.claim(wants)
    assert [(one.attempt.runner_id, one.job.job_id) for one in given] == [
        (wants[0].runner_id, oldest.job_id),
        (wants[1].runner_id, theirs.job_id),
    ]


async def test_a_retry_is_not_taken_before_its_time(store: SqlStore, clock: MovingClock) -> None:
    worker, job, attempt = await running(store, spec={"max_attempts": 2, "retry_delay_seconds": 30.0})
    await worker.report(attempt, Outcome(kind=OutcomeKind.EXITED, exit_code=1))
    behind = await create(store)
    assert [one.job.job_id for one in await worker.claim(2)] == [behind.job_id]
    clock.advance(29)
    assert list(await worker.claim()) == []
    clock.advance(1)
    assert [one.job.job_id for one in await worker.claim()] == [job.job_id]


async def test_claims_at_the_same_time_never_share_a_job(reopen: Opener) -> None:
    async with reopen() as one:
        stores = [one]
        async with reopen() as other:
            if one.shared:
                stores.append(other)
            jobs = {(await create(one)).job_id for _ in range(60)}
            workers = [await make_worker(stores[number % len(stores)]) for number in range(12)]
            taken: list[str] = []
            while len(taken) < len(jobs):
                given = await asyncio.gather(*(worker.claim(3) for worker in workers))
                taken += [assignment.job.job_id for each in given for assignment in each]
            assert sorted(taken) == sorted(jobs)
            assert list(await workers[0].claim()) == []


async def test_creating_and_claiming_at_once_loses_nothing(reopen: Opener) -> None:
    async with reopen() as one, reopen() as other:
        second = other if one.shared else one
        worker = await make_worker(second)
        taken: set[str] = set()

        async def make() -> set[str]:
            made = await asyncio.gather(*(one.jobs.create(make_job(), queue_limit=99) for _ in range(50)))
            return {job.job_id for job, _ in made}

        making = asyncio.create_task(make())
        while not making.done():
            taken |= {assignment.job.job_id for assignment in await worker.claim(7)}
        taken |= {assignment.job.job_id for assignment in await worker.claim(50)}
        assert taken == await making
