"""SQLite's group commit: neighbours in a transaction, failures, a full disk, the end."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from store_house import PLENTY, create, make_job, running

from runner_service.domain.errors import JobNotFound, StorageFull, Unavailable
from runner_service.domain.jobs import JobState
from runner_service.store import SqlStore, StoreUnusable, open_store
from runner_service.store.schema import queue_changes
from runner_service.store.sqlite import SqliteEngine
from runner_service.store.statements import Connection, Query

ADD = Query(insert(queue_changes).inline(), columns=("id", "change"))
IDS = Query(select(queue_changes.c.id).order_by(queue_changes.c.id))


def add(conn: Connection, number: int) -> int:
    conn.run(ADD, {"id": number, "change": 0})
    return number


def add_and_fail(conn: Connection, number: int) -> None:
    add(conn, number)
    raise RuntimeError(f"unit {number}")


def ids(conn: Connection) -> list[int]:
    return [row[0] for row in conn.all(IDS)]


@pytest.fixture
def url(sqlite_url: str) -> str:
    return sqlite_url


async def test_a_unit_that_fails_half_way_does_not_hurt_its_neighbours(store: SqlStore) -> None:
    futures = [store.engine.write(add_and_fail if number % 7 == 3 else add, number) for number in range(1, 41)]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    good = [number for number in range(1, 41) if number % 7 != 3]
    assert [answer for answer in answers if isinstance(answer, int)] == good
    assert {str(answer) for answer in answers if isinstance(answer, RuntimeError)} == {
        f"unit {number}" for number in range(1, 41) if number % 7 == 3
    }
    assert await store.engine.read(ids) == good


async def test_a_conflict_between_units_fails_the_later_alone(store: SqlStore) -> None:
    answers = await asyncio.gather(
        *(store.engine.write(add, number) for number in (1, 2, 1, 3)), return_exceptions=True
    )
    assert [answer if isinstance(answer, int) else type(answer) for answer in answers] == [
        1,
        2,
        sqlite3.IntegrityError,
        3,
    ]
    assert await store.engine.read(ids) == [1, 2, 3]


async def test_a_unit_that_ends_the_transaction_itself_takes_nobody_along(store: SqlStore) -> None:
    def rogue(conn: Connection) -> None:
        add(conn, 100)
        conn.run(Query(text("ROLLBACK")))

    answers = await asyncio.gather(
        store.engine.write(add, 1), store.engine.write(rogue), store.engine.write(add, 2), return_exceptions=True
    )
    assert (answers[0], answers[2]) == (1, 2)
    assert isinstance(answers[1], sqlite3.Error)
    assert await store.engine.read(ids) == [1, 2]


async def test_an_error_before_any_change_leaves_the_group_in_one_transaction(store: SqlStore) -> None:
    jobs = [await create(store) for _ in range(5)]
    calls = [store.jobs.cancel(job.job_id, by="", reason="") for job in jobs]
    calls.insert(2, store.jobs.cancel("unknown", by="", reason=""))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[2], JobNotFound)
    assert await store.jobs.count() == {JobState.CANCELLED: 5}


async def test_a_cancelled_caller_leaves_its_unit_running(store: SqlStore) -> None:
    task = asyncio.create_task(store.jobs.create(make_job(), queue_limit=PLENTY))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await create(store)
    assert await store.jobs.count() == {JobState.QUEUED: 2}


async def test_a_full_disk_refuses_new_jobs_and_nothing_is_half_done(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        worker, job, attempt = await running(store)

        def limit(conn: Connection, pages: int) -> int:
            (row,) = conn.all(Query(text(f"PRAGMA max_page_count = {pages}")))
            return int(row[0])

        await store.engine.write(limit, 1)  # as many as there are
        before = await store.jobs.last_event()
        made = 0
        heavy = {"environment": {"X": "x" * 20_000}}
        with pytest.raises(StorageFull):
            for made in range(1000):  # noqa: B007
                await store.jobs.create(make_job(spec=heavy), queue_limit=PLENTY)
        answers = await asyncio.gather(
            *(store.jobs.create(make_job(spec=heavy), queue_limit=PLENTY) for _ in range(10)), return_exceptions=True
        )
        assert all(isinstance(answer, StorageFull) for answer in answers)
        assert await store.jobs.count() == {
            state: number for state, number in ((JobState.RUNNING, 1), (JobState.QUEUED, made)) if number
        }
        assert await store.jobs.get(job.job_id) == job
        events = await store.jobs.events(after=before, limit=99)
        assert len(events) == made

        await store.engine.write(limit, 1_000_000)
        await create(store)
        assert (await worker.report(attempt)).value == "ACCEPTED"


async def test_leaving_finishes_what_was_asked_for_and_then_refuses(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        futures = [store.engine.write(add, number) for number in range(1, 301)]
    assert [await future for future in futures] == list(range(1, 301))
    with pytest.raises(Unavailable):
        await store.jobs.get("x" * 36)
    with pytest.raises(Unavailable):
        await store.jobs.create(make_job(), queue_limit=1)
    await store.engine.close()
    async with open_store(sqlite_url) as store:
        assert await store.engine.read(ids) == list(range(1, 301))


async def test_the_file_is_set_up_to_be_durable_and_to_shrink(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        assert isinstance(store.engine, SqliteEngine)

        def pragmas(conn: Connection) -> list[object]:
            names = ("journal_mode", "synchronous", "auto_vacuum")
            return [conn.all(Query(text(f"PRAGMA {name}")))[0][0] for name in names]

        assert await store.engine.write(pragmas) == ["wal", 2, 2]


async def test_a_reader_cannot_write(store: SqlStore) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await store.engine.read(add, 1)
    assert await store.engine.read(ids) == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "my-password"])
async def test_what_cannot_be_a_store_is_refused(url: str) -> None:
    with pytest.raises(StoreUnusable, match="store") as refusal:
        async with open_store(url):
            pass
    assert "my-password" not in str(refusal.value)


async def test_a_directory_that_is_not_there_is_an_error_of_the_opening(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"none/runner\.db: unable to open"):
        async with open_store(f"sqlite:///{tmp_path}/none/runner.db"):
            pass


async def test_what_is_no_database_is_an_error_of_the_opening(tmp_path: Path) -> None:
    (tmp_path / "runner.db").write_text("something else, long enough to be looked at" * 20)
    with pytest.raises(StoreUnusable, match=r"runner\.db: file is not a database"):
        async with open_store(f"sqlite:///{tmp_path}/runner.db"):
            pass


async def test_a_database_that_is_away_is_named_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    # Now nobody listens there.
    with pytest.raises(StoreUnusable, match=f"127.0.0.1:{port}/shop: connection") as refusal:
        async with open_store(f"postgresql+psycopg://runner:my-password@127.0.0.1:{port}/shop"):
            pass
    assert "my-password" not in str(refusal.value)
