"""Reports of observed agents, on both engines."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from store_house import SECOND, START, MovingClock, Opener

from runner_service.domain.agent_reports import MINUTE, AgentReport, NewReport, ReportStatus
from runner_service.domain.errors import InvalidArgument, ReportedAgentNotFound, ReportSessionNotFound
from runner_service.store import SqlStore
from runner_service.store import agent_reports as queries

NOON = START * 1000
"""Nanoseconds, by the agents' own clocks."""


def new(agent_id: str = "a", topic: str = "t", status: str = "running", **fields: Any) -> NewReport:
    return NewReport(agent_id=agent_id, topic=topic, status=status, **{"reported_at": NOON, **fields})


async def report(store: SqlStore, *args: str, history: int = 1000, **fields: Any) -> AgentReport:
    return await store.agent_reports.report(new(*args, **fields), default_ttl_minutes=30, history=history)


async def test_a_report_registers_its_agent_and_session(store: SqlStore, clock: MovingClock) -> None:
    made = await report(store, agent_name="Ann", agent_source="ide", message="hello", content="x" * 10_000)
    agent = await store.agent_reports.agent("a")
    assert (agent.name, agent.source, agent.registered_at, agent.last_seen_at) == ("Ann", "ide", START, START)
    assert (agent.sessions, agent.active_sessions) == (1, 1)
    assert agent.latest == replace(made, content="")
    session = await store.agent_reports.session("a", "t")
    assert (session.created_at, session.updated_at, session.ttl_minutes, session.reports) == (START, START, 30, 1)
    assert list(await store.agent_reports.history("a", topic="t", limit=9)) == [made]


async def test_names_stay_until_said_again_and_times_move(store: SqlStore, clock: MovingClock) -> None:
    await report(store, agent_name="Ann", agent_source="ide", ttl_minutes=5)
    clock.advance(1)
    await report(store, agent_source="shell")
    agent = await store.agent_reports.agent("a")
    assert (agent.name, agent.source) == ("Ann", "shell")
    assert (agent.registered_at, agent.last_seen_at) == (START, START + SECOND)
    session = await store.agent_reports.session("a", "t")
    assert (session.created_at, session.updated_at, session.ttl_minutes) == (START, START + SECOND, 5)
    await report(store, ttl_minutes=7)
    assert (await store.agent_reports.session("a", "t")).ttl_minutes == 7


async def test_the_latest_is_that_of_the_agents_time_and_of_one_time_the_last(store: SqlStore) -> None:
    await report(store, "a", "one", "success", reported_at=NOON + 5, message="first")
    await report(store, "a", "two", "failed", reported_at=NOON + 4)
    assert (await store.agent_reports.agent("a")).latest.status is ReportStatus.SUCCESS
    await report(store, "a", "two", "pending", reported_at=NOON + 5, message="last")
    agent = await store.agent_reports.agent("a")
    assert (agent.latest.topic, agent.latest.message) == ("two", "last")
    found = await store.agent_reports.history("a", limit=9)
    assert [(one.topic, one.status.value) for one in found] == [
        ("two", "pending"),
        ("one", "success"),
        ("two", "failed"),
    ]
    assert [one.status.value for one in await store.agent_reports.history("a", limit=1)] == ["pending"]
    assert (await store.agent_reports.session("a", "two")).current.status is ReportStatus.PENDING


@pytest.mark.parametrize("at", [-62_135_596_800_000_000_000, 253_402_300_799_999_999_999, 1, -1, NOON + 123_456_789])
async def test_times_of_all_documented_years_come_back_to_the_nanosecond(store: SqlStore, at: int) -> None:
    await report(store, reported_at=at)
    (found,) = await store.agent_reports.history("a", topic="t", limit=9)
    assert found.reported_at == at == (await store.agent_reports.agent("a")).latest.reported_at


async def test_a_session_keeps_its_last_reports(store: SqlStore) -> None:
    for number in range(5):
        await report(store, message=str(number), history=3, reported_at=NOON - number)
    assert [one.message for one in await store.agent_reports.history("a", topic="t", limit=9)] == ["2", "3", "4"]
    assert (await store.agent_reports.session("a", "t")).reports == 5
    assert (await store.agent_reports.agent("a")).latest.message == "0", "the newest by its time, though it is gone"


async def test_reports_that_come_together_are_stored_in_order(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    storing = queries.report_all

    def watched(conn: Any, filings: Any) -> Any:
        sizes.append(len(filings))
        return storing(conn, filings)

    monkeypatch.setattr(store.agent_reports._reports, "_function", watched)
    calls = [report(store, f"agent-{n % 3}", f"topic-{n % 2}", message=str(n), history=4) for n in range(60)]
    made = await asyncio.gather(*calls)
    assert len(sizes) < 60 and sum(sizes) == 60
    assert [one.sequence for one in made] == list(range(1, 61))
    agents = await store.agent_reports.agents(limit=0)
    assert [(agent.agent_id, agent.sessions, agent.latest.message) for agent in agents] == [
        ("agent-0", 2, "57"),
        ("agent-1", 2, "58"),
        ("agent-2", 2, "59"),
    ]
    assert [one.message for one in await store.agent_reports.history("agent-0", topic="topic-0", limit=9)] == [
        "54",
        "48",
        "42",
        "36",
    ]
    feed = await store.agent_reports.reports(after=0, limit=100)
    assert [one.sequence for one in feed] == sorted(one.sequence for one in feed)
    assert len(feed) == 3 * 2 * 4


async def test_the_feed_goes_on_behind_a_report(store: SqlStore) -> None:
    assert await store.agent_reports.last_sequence() == 0
    made = [await report(store, name) for name in "abab"]
    assert await store.agent_reports.last_sequence() == made[-1].sequence
    assert list(await store.agent_reports.reports(after=made[1].sequence, limit=9)) == made[2:]
    assert list(await store.agent_reports.reports(after=0, limit=9, agent_id="b")) == [made[1], made[3]]
    assert list(await store.agent_reports.reports(after=0, limit=1)) == made[:1]


async def test_sequences_of_two_servers_rise_in_the_order_of_commits(reopen: Opener) -> None:
    async with reopen() as one, reopen() as two:
        made = [await report(one), await report(two), await report(one)]
        assert [each.sequence for each in made] == [1, 2, 3]
        if one.shared:
            together = await asyncio.gather(*(report(store, f"a{n}") for n in range(20) for store in (one, two)))
            assert sorted(each.sequence for each in together) == list(range(4, 44))


async def test_sessions_expire_when_silent_and_a_report_revives_them(store: SqlStore, clock: MovingClock) -> None:
    await report(store, "a", "short", ttl_minutes=1)
    await report(store, "a", "long", ttl_minutes=2)
    clock.time = START + MINUTE
    assert await store.agent_reports.expire() == 0, "only when it is over"
    clock.time += 1
    assert await store.agent_reports.expire() == 1
    assert await store.agent_reports.expire() == 0
    assert (await store.agent_reports.session("a", "short")).expired_at == clock.time
    assert (await store.agent_reports.session("a", "long")).expired_at is None
    agent = await store.agent_reports.agent("a")
    assert (agent.sessions, agent.active_sessions) == (2, 1)
    (listed,) = await store.agent_reports.agents(limit=0)
    assert listed == agent
    clock.advance(1)
    await report(store, "a", "short")
    assert (await store.agent_reports.session("a", "short")).expired_at is None
    assert [one.topic for one in await store.agent_reports.sessions("a")] == ["short", "long"]


async def test_ends_of_sessions_stand_among_the_reports_once(reopen: Opener, clock: MovingClock) -> None:
    async with reopen() as one, reopen() as two:
        for topic in "ab":
            await report(one, "x", topic, ttl_minutes=1)
        await report(one, "y", "c", ttl_minutes=1)
        clock.time = START + MINUTE + 1
        counts = await asyncio.gather(*(store.agent_reports.expire() for store in (one, two) for _ in range(3)))
        assert sum(counts) == 3
        after = await report(two, "x", "b")
        assert await one.agent_reports.last_sequence() == after.sequence == 7
        ended = await one.agent_reports.expired(after=0, limit=9)
        assert [(one.topic, one.expired_at) for one in ended] == [("a", clock.time), ("c", clock.time)]
        assert {one.expired_sequence for one in ended} < {4, 5, 6}
        assert [one.topic for one in await two.agent_reports.expired(after=0, limit=1)] == ["a"]
        assert [one.topic for one in await two.agent_reports.expired(after=0, limit=9, agent_id="y")] == ["c"]
        assert await two.agent_reports.expired(after=6, limit=9) == []
        assert await two.agent_reports.expired(after=0, limit=9, agent_id="\x00") == []


async def test_agents_come_in_order_of_registration_in_pages(store: SqlStore, clock: MovingClock) -> None:
    for name in ("b", "a"):
        await report(store, name)
    clock.advance(1)
    for name in ("0", "b"):
        await report(store, name)
    everyone = await store.agent_reports.agents(limit=0)
    assert [agent.agent_id for agent in everyone] == ["a", "b", "0"]
    found: list[str] = []
    while page := await store.agent_reports.agents(limit=2, after=found[-1] if found else ""):
        found += [agent.agent_id for agent in page]
    assert found == ["a", "b", "0"]
    with pytest.raises(InvalidArgument):
        await store.agent_reports.agents(limit=2, after="nobody")


@pytest.mark.parametrize("text", ["a/b c", "日本語 ✓", "x" * 500, "a\nb\tc", "%2F%00", "'; DROP TABLE"])
async def test_ids_and_topics_are_any_text(store: SqlStore, text: str) -> None:
    await report(store, text[:100], text)
    assert (await store.agent_reports.agent(text[:100])).sessions == 1
    assert (await store.agent_reports.session(text[:100], text)).topic == text
    assert len(await store.agent_reports.history(text[:100], topic=text, limit=9)) == 1


@pytest.mark.parametrize("unknown", ["", "x", "\x00", "\ud800"])
async def test_what_never_reported_is_not_there(store: SqlStore, unknown: str) -> None:
    await report(store)
    with pytest.raises(ReportedAgentNotFound):
        await store.agent_reports.agent(unknown)
    for agent_id, topic in ((unknown, "t"), ("a", unknown)):
        with pytest.raises(ReportSessionNotFound):
            await store.agent_reports.session(agent_id, topic)
    assert await store.agent_reports.sessions(unknown) == []
    assert await store.agent_reports.history(unknown, limit=9) == []
    if unknown:
        assert await store.agent_reports.reports(after=0, limit=9, agent_id=unknown) == []


async def test_silent_sessions_are_purged_with_their_reports_and_agents(store: SqlStore, clock: MovingClock) -> None:
    await report(store, "old", "one")
    await report(store, "both", "one")
    clock.advance(10)
    await report(store, "both", "two")
    assert await store.agent_reports.purge(silent_since=START + SECOND, limit=1) == 1
    assert await store.agent_reports.purge(silent_since=START + SECOND, limit=9) == 1
    assert await store.agent_reports.purge(silent_since=START + SECOND, limit=9) == 0
    assert [agent.agent_id for agent in await store.agent_reports.agents(limit=0)] == ["both"]
    assert [one.topic for one in await store.agent_reports.history("both", limit=9)] == ["two"]
    assert (await report(store, "old", "one")).sequence == 4, "a number is never given twice"


async def test_reads_use_their_indexes(sqlite_url: str) -> None:
    from test_store_schema import plan

    from runner_service.store import open_store

    async with open_store(sqlite_url) as store:
        plans = {
            name: await store.engine.read(plan, query, dict.fromkeys(values, 1))
            for name, query, values in (
                ("INDEX agent_reports_of_agent", queries.HISTORY_OF_AGENT, ("agent_id", "size")),
                ("INTEGER PRIMARY KEY (rowid>?)", queries.FEED, ("after", "size")),
                ("INDEX report_sessions_live", queries.DUE, ("now",)),
                ("INDEX report_sessions_live ", queries.ALL_DUE, ("now", "size")),
                ("INDEX report_sessions_expired", queries.EXPIRED, ("after", "size")),
                ("INDEX report_sessions_silent", queries.SILENT, ("before", "size")),
                ("INDEX agent_reports_of_session", queries.FORGET, ("session_id", "last")),
                ("INDEX report_sessions_of_agent", queries.COUNTS_OF, ("agent_id",)),
            )
        }
    for part, found in plans.items():
        assert part in found, found
        assert "TEMP B-TREE" not in found, found
