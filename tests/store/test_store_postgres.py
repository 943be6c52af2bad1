"""What only PostgreSQL does: several servers, lost connections, conflicts."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from store_house import PLENTY, create, make_job, running
from store_postgres import Server

from runner_service.domain.errors import QueueFull, StoreUnavailable, Unavailable
from runner_service.domain.jobs import JobState
from runner_service.store import open_store
from runner_service.store.postgres import Horizon, patience
from runner_service.store.statements import Connection, Query


async def _break_connections(url: str, database: str | None = None) -> None:
    """Those of the url's database; of ``database``, where that one lets nobody in."""
    within = make_url(url).set(drivername="postgresql", database="postgres" if database else make_url(url).database)
    connection = await psycopg.AsyncConnection.connect(within.render_as_string(False), autocommit=True)
    async with connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = coalesce(%s, current_database()) AND pid <> pg_backend_pid()",
            (database,),
        )


async def test_lost_connections_are_made_again(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        job = await create(store)
        for _ in range(2):
            await _break_connections(postgres_url)
            assert await store.jobs.get(job.job_id) == job
            await create(store)
        assert await store.jobs.count() == {JobState.QUEUED: 3}


async def test_the_databases_clock_stamps_without_one_of_ours(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        _, job, attempt = await running(store)

        def now(conn: Connection) -> int:
            return conn.now()

        assert attempt.started_at is not None
        assert job.created_at <= attempt.assigned_at <= attempt.started_at <= await store.engine.write(now)


async def test_the_bound_of_the_queue_holds_across_servers(postgres_url: str) -> None:
    async with open_store(postgres_url) as one, open_store(postgres_url) as two:
        answers = await asyncio.gather(
            *((one, two)[number % 2].jobs.create(make_job(), queue_limit=9) for number in range(40)),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, tuple) for answer in answers) == 9
        assert sum(isinstance(answer, QueueFull) for answer in answers) == 31


async def test_the_same_request_on_two_servers_makes_one_job(postgres_url: str) -> None:
    async with open_store(postgres_url) as one, open_store(postgres_url) as two:
        answers = await asyncio.gather(
            *(store.jobs.create(make_job(request_id="r"), queue_limit=PLENTY) for store in (one, two) * 5)
        )
        assert len({job.job_id for job, _ in answers}) == 1
        assert sum(made for _, made in answers) == 1


async def test_a_deadlock_is_tried_again(postgres_url: str) -> None:
    """Two units lock two rows in opposite order; the one that is shot runs again."""
    async with open_store(postgres_url) as store:
        jobs = sorted([(await create(store)).job_id for _ in range(2)])
        meet = asyncio.get_running_loop()
        both = [meet.create_future(), meet.create_future()]
        lock = "SELECT job_id FROM jobs WHERE job_id = '{}' FOR UPDATE"

        def unit(conn: Connection, number: int) -> int:
            first, second = jobs if number == 0 else reversed(jobs)
            conn.one(Query(text(lock.format(first))))
            meet.call_soon_threadsafe(lambda: both[number].done() or both[number].set_result(None))
            asyncio.run_coroutine_threadsafe(_wait(both), meet).result()
            conn.one(Query(text(lock.format(second))))
            return number

        async def _wait(futures: list[asyncio.Future[None]]) -> None:
            await asyncio.gather(*(asyncio.shield(future) for future in futures))

        assert await asyncio.gather(store.engine.write(unit, 0), store.engine.write(unit, 1)) == [0, 1]


async def test_a_database_that_is_not_there_is_an_error_of_the_opening(postgres_url: str) -> None:
    with pytest.raises(Exception, match="does not exist"):
        async with open_store(postgres_url.replace("/store_", "/nothing_")):
            pass


async def test_with_too_few_connections_a_server_works_with_those_it_has(
    postgres_server: Server, postgres_url: str
) -> None:
    postgres_server.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 4")
    try:
        postgres_server.execute(f"GRANT ALL ON DATABASE {make_url(postgres_url).database} TO few")
        postgres_server.execute("GRANT pg_read_all_data, pg_write_all_data TO few")
        url = make_url(postgres_url).set(username="few").render_as_string(False)
        async with open_store(url) as store:
            await create(store)
            await store.jobs.count()  # A connection is for writing now, and one for reading; others take the rest.
            await asyncio.gather(*(create(store) for _ in range(40)))
            counts = await asyncio.gather(*(store.jobs.count() for _ in range(40)))
            assert counts == [{JobState.QUEUED: 41}] * 40
            assert store.reachable
    finally:
        postgres_server.execute("DROP OWNED BY few")
        postgres_server.execute("DROP ROLE few")


async def test_a_database_that_is_away_is_said_once_and_so_is_its_return(
    postgres_server: Server, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = make_url(postgres_url).database
    async with open_store(postgres_url) as store:
        await create(store)
        postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        await _break_connections(postgres_url, database)
        try:
            for problem in await asyncio.gather(store.jobs.count(), store.jobs.count(), return_exceptions=True):
                assert isinstance(problem, StoreUnavailable)
            assert not store.reachable
        finally:
            postgres_server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        assert await store.jobs.count() == {JobState.QUEUED: 1}
        assert store.reachable
    said = [record.__dict__.get("action") for record in caplog.records if record.name.endswith("store.reach")]
    assert said == ["store_away", "store_back"]


def test_what_the_url_says_about_patience_holds() -> None:
    assert patience("postgresql+psycopg://u@h/d")["connect_timeout"] == 5
    assert "connect_timeout" not in patience("postgresql+psycopg://u@h/d?connect_timeout=60")


async def test_after_leaving_calls_are_refused(postgres_url: str) -> None:
    async with open_store(postgres_url) as store:
        futures = [store.jobs.create(make_job(), queue_limit=PLENTY) for _ in range(5)]
        await asyncio.gather(*futures)
    with pytest.raises(Unavailable):
        await store.jobs.get("x" * 36)


def test_the_horizon_moves_when_those_below_are_over() -> None:
    horizon = Horizon()
    assert horizon.settled(100) == 0
    assert horizon.is_new(5)
    horizon.note(5, 100)
    assert not horizon.is_new(5)
    # Transaction 100 is on its way and may hold 6 while 7 is seen.
    horizon.note(7, 102)
    horizon.note(9, 104)
    assert [horizon.settled(oldest) for oldest in (99, 100, 101, 102, 103, 104)] == [0, 5, 5, 7, 7, 9]
    # A reader whose snapshot is older than another's does not see what the other does.
    assert horizon.settled(101) == 5
    for number in range(10, 1000):
        horizon.note(number, 200 + number)
    assert horizon.settled(104) == 9
    assert horizon.settled(1199) == 999
    assert horizon.settled(1190) == 990
    assert horizon.settled(104) == 0  # forgotten: look again with a newer snapshot
