"""Wake-up calls: within a server nothing is lost; between servers they arrive soon, and waiters look anyway."""

from __future__ import annotations

import asyncio

from runner_service.ports.signals import EVENTS, QUEUE, Signals, job_topic
from runner_service.store import open_store
from runner_service.store.postgres_signals import MANY, PAYLOAD_BYTES, PostgresSignals, payloads
from runner_service.store.signals import LocalSignals


async def test_a_call_between_look_and_wait_is_kept_as_one() -> None:
    signals: Signals = LocalSignals()
    with signals.subscribe(QUEUE, EVENTS) as waiter:
        signals.publish([QUEUE])
        signals.publish([EVENTS, QUEUE, "other"])
        assert await waiter.wait(10)
        assert not await waiter.wait(0)
        signals.publish(["other"])
        assert not await waiter.wait(0.001)


async def test_everyone_who_waits_is_woken() -> None:
    signals = LocalSignals()

    async def wait() -> bool:
        with signals.subscribe(QUEUE) as waiter:
            return await waiter.wait(30)

    tasks = [asyncio.create_task(wait()) for _ in range(50)]
    while not signals.followed(QUEUE):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    signals.publish([QUEUE])
    assert await asyncio.gather(*tasks) == [True] * 50
    assert not signals.followed(QUEUE)


async def test_a_cancelled_waiter_leaves_no_trace() -> None:
    signals = LocalSignals()

    async def wait() -> None:
        with signals.subscribe(QUEUE, job_topic("x")) as waiter:
            await waiter.wait(30)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert signals.followed(job_topic("x"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert signals.topics() == []
    signals.publish([QUEUE])


async def test_a_shared_store_caps_the_wait() -> None:
    signals = LocalSignals(poll_seconds=0.001)
    with signals.subscribe(QUEUE) as waiter:
        assert not await waiter.wait(1e9)


async def test_another_server_hears_of_it(postgres_url: str) -> None:
    async with open_store(postgres_url) as one, open_store(postgres_url) as two:
        assert isinstance(one.signals, PostgresSignals)
        assert isinstance(two.signals, PostgresSignals)
        await two.signals.listening.wait()
        with two.signals.subscribe(QUEUE) as far, one.signals.subscribe(QUEUE) as near:
            one.signals.publish([QUEUE, job_topic("x")])
            assert await near.wait(0)
            while not await far.wait(10):
                pass
        with two.signals.subscribe("rare") as far:
            one.signals.publish(f"topic-{number}" for number in range(MANY + 1))
            while not await far.wait(10):  # too many to name: everyone is called
                pass


async def test_a_store_on_sqlite_has_signals_of_its_own(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        assert not store.shared
        with store.signals.subscribe(QUEUE) as waiter:
            store.signals.publish([QUEUE])
            assert await waiter.wait(0)


def test_topics_are_packed_into_few_calls_that_postgresql_takes() -> None:
    topics = {job_topic(f"{number:036}") for number in range(MANY)}
    packed = payloads("server", topics)
    assert {topic for payload in packed for topic in payload.split(" ")[1:]} == topics
    assert all(payload.startswith("server ") and len(payload) <= PAYLOAD_BYTES for payload in packed)
    assert len(packed) == 3
    assert payloads("server", topics | {"one more"}) == ["server"]
    assert payloads("server", []) == []
