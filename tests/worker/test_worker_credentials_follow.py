"""Credentials have an end: a worker keeps the next one before it shows it, and joins again when it has none."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2
from worker_house import House

from runner.v1.dispatch_service_pb2 import HeldAttempt
from runner_service.worker import sync
from runner_service.worker.identity import Identity, load_identity, store_identity
from runner_service.worker.times import ExitCode

STARTED = HeldAttempt.PHASE_STARTED


def kept(house: House) -> str:
    identity = load_identity(house.directory)
    assert identity is not None
    return identity.credential


async def test_the_next_one_is_on_disk_before_it_is_shown(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_then: list[list[str]] = []

    def watched(directory: object, identity: Identity) -> None:
        shown_then.append(list(house.server.shown))
        store_identity(house.directory, identity)

    attempt = house.server.submit("fake", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    monkeypatch.setattr(sync, "store_identity", watched)
    before = kept(house)
    house.server.next_credentials[attempt.runner_id] = "next"
    house.server.wake()
    await house.server.until(lambda: house.server.shown[-1] == "next")
    assert shown_then == [[before] * len(shown_then[0])]
    assert kept(house) == "next"
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert len(house.server.registrations) == 1


async def test_a_reply_with_the_next_one_that_is_lost_is_told_again(house: House) -> None:
    house.worker()
    await house.server.until(lambda: bool(house.server.syncs))
    house.server.faults["Sync"] += [(code_pb2.UNAVAILABLE, "LOST")] * 3
    house.server.next_credentials[house.server.syncs[-1].runner_id] = "next"
    house.server.wake()
    await house.server.until(lambda: house.server.shown[-1] == "next")
    assert (kept(house), house.server.faults["Sync"]) == ("next", [])


async def test_a_worker_whose_credential_expired_joins_again_as_the_same_with_its_jobs(house: House) -> None:
    house.server.token = "join-me"
    attempt = house.server.submit("fake", "hold", "stdout=x")
    first = house.worker(join_token="join-me")
    await house.listed(attempt, STARTED)
    await house.crash(first)
    before = kept(house)
    house.server.expired.add(before)
    house.server.faults["RejoinRunner"] = [(code_pb2.UNAVAILABLE, "LOST")]
    house.worker(join_token="join-me")
    await house.server.until(lambda: house.server.shown[-1] == f"again-{attempt.runner_id}")
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert [(one.runner_id, one.credential) for one in house.server.rejoins] == [(attempt.runner_id, before)] * 2
    assert (len(house.machine.starts), len(house.server.registrations)) == (1, 1)
    assert kept(house) == f"again-{attempt.runner_id}"


async def test_without_a_join_token_it_ends_and_says_what_to_do(house: House, caplog: pytest.LogCaptureFixture) -> None:
    first = house.worker()
    await house.server.until(lambda: bool(house.server.syncs))
    first.stop()
    await house.ended(first)
    house.server.token = "join-me"
    house.server.expired.add(kept(house))
    assert await house.ended(house.worker()) is ExitCode.REFUSED
    assert "has expired" in caplog.text
    assert "RUNNER_TOKEN" in caplog.text
    assert len(house.server.registrations) == 1, "a runner is not made anew behind the back of its jobs"


async def test_one_that_was_in_contact_tries_both_ways_until_the_server_has_its_clock_right(house: House) -> None:
    attempt = house.server.submit("fake", "hold")
    house.worker()
    await house.listed(attempt, STARTED)
    house.server.token = "join-me"
    house.server.expired.add(kept(house))
    house.server.park = 0.0
    house.server.wake()
    await house.server.until(lambda: len(house.server.rejoins) >= 2)
    house.server.expired.clear()
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert len(house.machine.starts) == 1


async def test_what_is_not_even_known_as_an_old_one_registers_anew_with_nothing_in_hand(house: House) -> None:
    first = house.worker()
    await house.server.until(lambda: bool(house.server.syncs))
    first.stop()
    await house.ended(first)
    house.server.expired.add(kept(house))
    house.server.credentials.clear()
    house.worker()
    await house.server.until(lambda: len(house.server.registrations) == 2)
    await house.finished(house.server.submit("fake"))
