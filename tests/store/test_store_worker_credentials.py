"""Credentials of workers, which follow each other."""

from __future__ import annotations

import hashlib

import pytest
from store_house import SECOND, MovingClock, Worker, make_runner, register

from runner_service.domain.errors import InvalidArgument, RunnerDeleted, RunnerNotFound
from runner_service.domain.ids import new_id
from runner_service.domain.runners import Runner, RunnerProfile
from runner_service.domain.worker_credentials import WorkerCredential
from runner_service.store import SqlStore

HOUR = 3600.0


def digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


async def registered(store: SqlStore) -> Runner:
    runner = make_runner()
    made, _ = await store.runners.register_once(
        runner,
        RunnerProfile(runner_id=runner.runner_id),
        digest=digest("a"),
        life_seconds=HOUR,
        mark=None,
        note="",
    )
    return made


async def renewed(
    store: SqlStore, runner: Runner, *, shown: str, offered: str, rejoins: bool = False
) -> WorkerCredential:
    made = await store.worker_credentials.renew(
        runner.runner_id, shown=digest(shown), digest=digest(offered), nonce=offered, life_seconds=HOUR, rejoins=rejoins
    )
    assert made is not None
    return made


async def left(store: SqlStore, runner: Runner) -> dict[bytes, float]:
    """Seconds that each is still good for, oldest first."""
    found = await store.worker_credentials.of(runner.runner_id)
    return {one.digest: (one.expires_at - found.now) / SECOND for one in found.credentials}


async def test_the_next_is_told_again_until_it_is_shown_and_then_the_old_one_ends(
    store: SqlStore, clock: MovingClock
) -> None:
    runner = await registered(store)
    clock.advance(1800)
    first = await renewed(store, runner, shown="a", offered="b")
    assert (first.number, first.digest, first.nonce) == (2, digest("b"), "b")
    assert await renewed(store, runner, shown="a", offered="c") == first, "another would void what may have arrived"
    assert await left(store, runner) == {digest("a"): 1800, digest("b"): 3600}
    await store.worker_credentials.confirm(runner.runner_id, 2, overlap_seconds=60)
    await store.worker_credentials.confirm(runner.runner_id, 2, overlap_seconds=60)
    assert await left(store, runner) == {digest("a"): 60, digest("b"): 3600}
    assert {one.nonce for one in (await store.worker_credentials.of(runner.runner_id)).credentials} == {""}


async def test_an_ended_one_is_known_until_the_next_is_shown(store: SqlStore, clock: MovingClock) -> None:
    runner = await registered(store)
    for number, (shown, offered) in enumerate(("ab", "bc", "cd"), start=2):
        clock.advance(1800)
        assert (await renewed(store, runner, shown=shown, offered=offered)).number == number
        await store.worker_credentials.confirm(runner.runner_id, number, overlap_seconds=60)
    assert await left(store, runner) == {digest("c"): 60, digest("d"): 3600}


async def test_one_that_waited_too_long_to_be_told_is_followed_by_another_and_stays_good(
    store: SqlStore, clock: MovingClock
) -> None:
    runner = await registered(store)
    await renewed(store, runner, shown="a", offered="b")
    clock.advance(1800)
    assert (await renewed(store, runner, shown="a", offered="c")).number == 3
    assert await left(store, runner) == {digest("a"): 1800, digest("b"): 1800, digest("c"): 3600}
    await store.worker_credentials.confirm(runner.runner_id, 2, overlap_seconds=60)
    assert await left(store, runner) == {digest("a"): 60, digest("b"): 1800, digest("c"): 3600}


async def test_nothing_follows_what_was_followed_but_for_who_joins_again(store: SqlStore, clock: MovingClock) -> None:
    runner = await registered(store)
    await renewed(store, runner, shown="a", offered="b")
    await store.worker_credentials.confirm(runner.runner_id, 2, overlap_seconds=60)
    again = {"shown": digest("a"), "digest": digest("c"), "nonce": "c", "life_seconds": HOUR}
    assert await store.worker_credentials.renew(runner.runner_id, **again) is None  # type: ignore[arg-type]
    assert (await renewed(store, runner, shown="a", offered="c", rejoins=True)).number == 3


async def test_an_expired_one_is_followed_by_a_new_one(store: SqlStore, clock: MovingClock) -> None:
    runner = await registered(store)
    clock.advance(86_400)
    again = await renewed(store, runner, shown="a", offered="b")
    assert (await left(store, runner))[again.digest] == 3600
    await store.worker_credentials.confirm(runner.runner_id, again.number, overlap_seconds=60)
    assert (await renewed(store, runner, shown="b", offered="c")).digest == digest("c")


async def test_what_is_not_the_runners_is_followed_by_nothing(store: SqlStore) -> None:
    runner, other = await registered(store), make_runner()
    await register(store, other)
    with pytest.raises(InvalidArgument):
        await renewed(store, runner, shown="x", offered="b")
    with pytest.raises(InvalidArgument):
        await renewed(store, other, shown="a", offered="b")
    for call in (
        store.worker_credentials.of(new_id()),
        renewed(store, make_runner(), shown="a", offered="b"),
        store.worker_credentials.confirm(new_id(), 1, overlap_seconds=60),
    ):
        with pytest.raises(RunnerNotFound):
            await call


async def test_they_go_with_their_runner(store: SqlStore) -> None:
    runner = await registered(store)
    await store.runners.delete(runner.runner_id, force=False, by="ann")
    with pytest.raises(RunnerDeleted):
        await store.worker_credentials.of(runner.runner_id)
    with pytest.raises(RunnerDeleted):
        await renewed(store, runner, shown="a", offered="b")


async def test_a_server_that_was_away_lets_those_come_back_that_were_in_contact(
    store: SqlStore, clock: MovingClock
) -> None:
    runner, silent, replaced = [await registered(store) for _ in range(3)]
    await Worker(store, silent).beat()
    clock.advance(120)
    for worker in (runner, replaced):
        await Worker(store, worker).beat()
    made = await renewed(store, replaced, shown="a", offered="b")
    await store.worker_credentials.confirm(replaced.runner_id, made.number, overlap_seconds=60)
    clock.advance(86_400)
    await store.dispatch.renew_leases(lease_seconds=30)
    assert await left(store, runner) == {digest("a"): 3600}
    assert (await left(store, silent))[digest("a")] < 0, "its absence is its own"
    after = await left(store, replaced)
    assert (after[digest("a")] < 0, after[digest("b")]) == (True, 3600), "what was replaced stays so"
