"""Lists of jobs: order, filters, pages."""

from __future__ import annotations

import pytest
from store_house import SECOND, START, MovingClock, create, make_worker

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import JobKind, JobState
from runner_service.ports.store import JobFilter
from runner_service.store import SqlStore

ALL = JobFilter()


async def ids(store: SqlStore, filter: JobFilter = ALL, **options: int) -> list[str]:
    page = await store.jobs.list(filter, limit=0, **options)
    assert page.next_after == ""
    assert page.total >= len(page.jobs)
    return [job.job_id for job in page.jobs]


async def test_jobs_come_newest_first_with_the_id_as_tie_break(store: SqlStore, clock: MovingClock) -> None:
    made = []
    for moment in (0, 0, 5, 0):
        clock.advance(moment)
        made.append((clock.now(), (await create(store)).job_id))
    assert await ids(store) == [job_id for _, job_id in sorted(made, reverse=True)]


async def test_each_condition_holds_and_all_of_them_together(store: SqlStore, clock: MovingClock) -> None:
    sct = await create(store, origin="sct", tags={"team": "a", "x": "1"})
    clock.advance(10)
    agent = await create(store, kind=JobKind.AGENT, tags={"team": "a"})
    clock.advance(10)
    worker = await make_worker(store)
    await worker.claim(1)  # sct
    queued = await create(store)
    await store.jobs.cancel(agent.job_id, by="", reason="")

    cases = [
        (JobFilter(origin="sct"), [sct]),
        (JobFilter(kinds=frozenset({JobKind.AGENT})), [agent]),
        (JobFilter(states=frozenset({JobState.QUEUED, JobState.ASSIGNED})), [queued, sct]),
        (JobFilter(cancelling=True), [agent]),
        (JobFilter(cancelling=False), [queued, sct]),
        (JobFilter(runner_id=worker.runner_id), [sct]),
        (JobFilter(created_since=START + 10 * SECOND), [queued, agent]),
        (JobFilter(created_before=START + 10 * SECOND), [sct]),
        (JobFilter(origin="native", states=frozenset({JobState.QUEUED}), cancelling=False), [queued]),
        (JobFilter(origin="sct", states=frozenset({JobState.QUEUED})), []),
    ]
    for filter, expected in cases:
        assert await ids(store, filter) == [job.job_id for job in expected], filter
    assert await ids(store, JobFilter(tags={"team": "a"})) == [agent.job_id, sct.job_id]
    assert await ids(store, JobFilter(tags={"team": "a", "x": "1"}, origin="sct")) == [sct.job_id]
    assert await ids(store, JobFilter(tags={"team": "b"})) == []


async def test_pages_follow_each_other_without_gap_or_repetition(store: SqlStore) -> None:
    made = sorted([(await create(store)).job_id for _ in range(7)], reverse=True)
    first = await store.jobs.list(ALL, limit=3)
    assert first.total == 7
    newer = await create(store)  # does not shift the pages behind
    second = await store.jobs.list(ALL, limit=3, after=first.next_after)
    third = await store.jobs.list(ALL, limit=3, after=second.next_after)
    assert [job.job_id for page in (first, second, third) for job in page.jobs] == made
    assert third.next_after == ""
    skipped = await store.jobs.list(ALL, limit=2, offset=1, after=first.next_after)
    assert [job.job_id for job in skipped.jobs] == made[4:6]
    assert await ids(store, offset=1) == made
    assert (await ids(store))[0] == newer.job_id


async def test_the_last_page_has_nothing_behind_it(store: SqlStore) -> None:
    for _ in range(2):
        await create(store)
    assert (await store.jobs.list(ALL, limit=2)).next_after == ""
    assert (await store.jobs.list(ALL, limit=1)).next_after != ""
    assert (await store.jobs.list(JobFilter(origin="none"), limit=1)).jobs == ()


@pytest.mark.parametrize("after", ["x", ".", "zz.0", "-1.x", "5." + "ü" * 36, "f" * 40 + "." + "a" * 36, "\x00"])
async def test_a_made_up_place_is_refused(store: SqlStore, after: str) -> None:
    with pytest.raises(InvalidArgument):
        await store.jobs.list(ALL, limit=1, after=after)
