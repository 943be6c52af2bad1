"""Managed agents: rows beside their jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy
from store_house import DONE, PLENTY, MovingClock, make_job, make_worker

from runner_service.domain.agents import Agent, AgentFinding, AgentNote, AgentStatus, AgentView
from runner_service.domain.errors import AgentNotFound, AlreadyExists, InvalidArgument, QueueFull
from runner_service.domain.ids import new_id
from runner_service.domain.images import ImageManifest, Tool
from runner_service.domain.jobs import Job, JobKind, JobState
from runner_service.domain.logs import LogPosition
from runner_service.store import SqlStore, agents, images, open_store
from runner_service.store.statements import Connection, Query

NOTE = AgentNote(kind="message_processed", content="It answered", data={"message_id": "m1"})


def agent_and_job(**fields: Any) -> tuple[Agent, Job]:
    job = make_job(kind=JobKind.AGENT, **fields)
    manifest = ImageManifest(entrypoint=("agent",), tools=(Tool(name="clock", description="tells the time"),))
    return Agent(agent_id=job.job_id, name="demo", image="echo:latest", manifest=manifest, parameters='{"a":1.0}'), job


async def make(store: SqlStore, **fields: Any) -> AgentView:
    agent, job = agent_and_job(**fields)
    return await store.agents.create(agent, job, queue_limit=PLENTY)


async def test_an_agent_comes_back_as_it_went_in_with_its_job(store: SqlStore, clock: MovingClock) -> None:
    made = await make(store)
    assert made.agent.created_at == clock.now() and made.status is AgentStatus.CREATING
    found = await store.agents.get(made.agent.agent_id)
    assert found.agent == made.agent and found.job.job_id == made.agent.agent_id


@pytest.mark.parametrize("agent_id", ["", "x", "\x00", "00000000-0000-7000-8000-000000000000"])
async def test_an_unknown_agent_is_not_found(store: SqlStore, agent_id: str) -> None:
    await store.jobs.create(make_job(), queue_limit=PLENTY)
    with pytest.raises(AgentNotFound):
        await store.agents.get(agent_id)
    with pytest.raises(AgentNotFound):
        await store.agents.remove(agent_id)
    with pytest.raises(AgentNotFound):
        await store.agents.record(agent_id, [AgentFinding(behind=LogPosition(new_id()))])


async def test_a_repeated_request_id_finds_the_agent_of_then(store: SqlStore) -> None:
    first, job = agent_and_job(request_id="r", origin="native")
    made = await store.agents.create(first, job, fingerprint="f", queue_limit=PLENTY)
    again, other = agent_and_job(request_id="r", origin="native")
    found = await store.agents.create(again, other, fingerprint="f", queue_limit=PLENTY)
    assert found.agent == made.agent
    with pytest.raises(AlreadyExists):
        await store.agents.create(again, other, fingerprint="g", queue_limit=PLENTY)
    assert len(await store.agents.list()) == 1


async def test_a_full_queue_leaves_no_agent_behind(store: SqlStore) -> None:
    agent, job = agent_and_job()
    with pytest.raises(QueueFull):
        await store.agents.create(agent, job, queue_limit=0)
    assert list(await store.agents.list()) == []


async def test_agents_come_newest_first_in_pages_and_by_state(store: SqlStore, clock: MovingClock) -> None:
    made = []
    for _ in range(3):
        made.append((await make(store)).agent.agent_id)
        clock.advance(1)
    worker = await make_worker(store)
    await worker.start()
    newest = list(reversed(made))
    assert [view.agent.agent_id for view in await store.agents.list()] == newest
    page = await store.agents.list(limit=2)
    assert [view.agent.agent_id for view in page] == newest[:2]
    rest = await store.agents.list(limit=2, after=newest[1])
    assert [view.agent.agent_id for view in rest] == newest[2:]
    running = await store.agents.list(states=[JobState.RUNNING])
    assert [view.agent.agent_id for view in running] == made[:1] and running[0].status is AgentStatus.RUNNING
    with pytest.raises(InvalidArgument):
        await store.agents.list(after=new_id())


async def test_a_removed_agent_is_nowhere(store: SqlStore) -> None:
    view = await make(store)
    await store.agents.remove(view.agent.agent_id)
    assert list(await store.agents.list()) == []
    with pytest.raises(AgentNotFound):
        await store.agents.remove(view.agent.agent_id)


def finding(attempt_id: str, sequence: int, offset: int = 0, **fields: Any) -> AgentFinding:
    return AgentFinding(behind=LogPosition(attempt_id, sequence, offset), **fields)


async def test_what_an_agent_did_is_recorded_once_whoever_reads_it(store: SqlStore) -> None:
    agent_id = (await make(store)).agent.agent_id
    attempt = new_id()
    findings = [
        finding(attempt, 2, 99, tokens=7),
        finding(attempt, 3, 10, note=NOTE, requests=1),
        finding(attempt, 3, 20, note=NOTE, requests=1),
    ]
    assert await store.agents.record(agent_id, findings[:2])
    # Others read in other pieces: what overlaps counts once.
    for repeated in (findings[:1], findings[:2], findings[1:2]):
        assert not await store.agents.record(agent_id, repeated)
    assert await store.agents.record(agent_id, findings)
    agent = (await store.agents.get(agent_id)).agent
    assert (agent.requests, agent.tokens, agent.read_to) == (2, 7, findings[-1].behind)
    events = await store.jobs.events(after=0, limit=9, job_id=agent_id)
    assert [event.kind for event in events] == ["created", *["agent.message_processed"] * 2]
    assert json.loads(events[1].detail) == {"content": "It answered", "data": {"message_id": "m1"}}


async def test_a_later_attempt_begins_behind_an_earlier_one(store: SqlStore) -> None:
    agent_id = (await make(store)).agent.agent_id
    first, second = new_id(), new_id()
    assert await store.agents.record(agent_id, [finding(first, 900)])
    assert await store.agents.record(agent_id, [finding(second, 0, 1)])


async def test_measures_are_kept(store: SqlStore) -> None:
    agent_id = (await make(store)).agent.agent_id
    attempt = await (await make_worker(store)).start()
    await store.agents.measure(attempt.attempt_id, 12_345_678)
    for other in (new_id(), "no id \x00"):
        await store.agents.measure(other, 1)
    assert (await store.agents.get(agent_id)).agent.memory_bytes == 12_345_678


async def test_an_agent_goes_with_its_job(store: SqlStore, clock: MovingClock) -> None:
    agent_id = (await make(store)).agent.agent_id
    worker = await make_worker(store)
    await worker.report(await worker.start(), DONE)
    assert (await store.agents.get(agent_id)).status is AgentStatus.STOPPED
    clock.advance(10)
    assert (await store.jobs.expire(finished_before=clock.now(), limit=9)).jobs == 1
    with pytest.raises(AgentNotFound):
        await store.agents.get(agent_id)


async def test_lists_walk_their_indexes_and_sort_nothing(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        for _ in range(20):
            await make(store)

        def explain(conn: Connection) -> dict[str, str]:
            values = {
                "limit": 9,
                "created_at": 1,
                "after": "",
                "states": "[]",
                "realm": "local",
                "first": "a",
                "behind": "b",
            }
            queries = {
                "newest": agents.LISTS[False, False],
                "page": agents.LISTS[False, True],
                "of states": agents.LISTS[True, True],
                "images": images.LISTED,
            }
            plans = {}
            for name, query in queries.items():
                text = "EXPLAIN QUERY PLAN " + query.text(conn.dialect).replace(":", "\\:")
                rows = conn.all(Query(sqlalchemy.text(text)), {**values, "pattern": "%", "offset": 0})
                plans[name] = "; ".join(row[3] for row in rows)
            return plans

        plans = await store.engine.read(explain)
    expected = {
        "newest": "USING INDEX agents_newest",
        "page": "USING INDEX agents_newest (created_at<?)",
        "of states": "USING INDEX agents_newest (created_at<?)",
        "images": "SEARCH image_tags USING PRIMARY KEY (realm=?)",
    }
    for name, part in expected.items():
        assert part in plans[name], (name, plans[name])
        assert "TEMP B-TREE" not in plans[name], (name, plans[name])
