"""The audit: written behind the calls, once, also when the store fails or the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from runner_service.domain.audit import AuditEntry
from runner_service.services import audit as module
from runner_service.services.audit import Audit

DAY = 86_400


class Clock:
    def now(self) -> int:
        return 1_000_000_000


class Store:
    """Keeps entries; fails, or holds up, as the test says."""

    def __init__(self) -> None:
        self.kept: list[AuditEntry] = []
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        self.asked.set()
        if self.failures:
            self.failures -= 1
            raise OSError("no")
        self.kept += entries
        await self.gate.wait()

    async def list(self, *, limit: int, before: int = 0, principal: str = "") -> Sequence[AuditEntry]:
        return self.kept[::-1][:limit]

    async def purge(self, *, before: int, limit: int) -> int:
        gone = [entry for entry in self.kept if entry.at < before][:limit]
        self.kept = self.kept[len(gone) :]
        return len(gone)


def _audit(store: Store) -> Audit:
    return Audit(store=store, clock=Clock(), keep_seconds=0, sweep_seconds=DAY)


def _note(audit: Audit, *methods: str) -> None:
    for method in methods:
        audit.note(principal="ann", role="admin", peer="", method=method, target="", status="OK", request_id="")


def _methods(store: Store) -> list[str]:
    return [entry.method for entry in store.kept]


async def test_reading_shows_what_was_noted_until_now() -> None:
    store = Store()
    audit = _audit(store)
    _note(audit, "a", "b")
    assert [entry.method for entry in await audit.list(limit=9)] == ["b", "a"]


async def test_what_the_store_did_not_take_is_written_later_in_order() -> None:
    store = Store()
    audit = _audit(store)
    store.failures = 1
    _note(audit, "a", "b")
    await audit.try_flush()
    assert store.kept == []
    _note(audit, "c")
    await audit.flush()
    assert _methods(store) == ["a", "b", "c"]


async def test_a_stop_in_the_middle_of_writing_writes_nothing_twice() -> None:
    store = Store()
    audit = _audit(store)
    running = asyncio.create_task(audit.run())
    store.gate.clear()
    _note(audit, "a")
    await store.asked.wait()
    _note(audit, "b")
    running.cancel()
    store.gate.set()
    await asyncio.gather(running, return_exceptions=True)
    assert _methods(store) == ["a", "b"]


async def test_too_many_that_wait_are_dropped_aloud(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    store = Store()
    audit = _audit(store)
    _note(audit, "a", "b", "c")
    await audit.flush()
    assert _methods(store) == ["b", "c"]
    assert "1 entries of the audit were lost" in caplog.text


async def test_the_sweep_goes_on_until_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    store = Store()
    audit = Audit(store=store, clock=Clock(), keep_seconds=-1, sweep_seconds=DAY)
    _note(audit, *"abcde")
    await audit.flush()
    await audit.sweep()
    assert store.kept == []


async def test_a_flush_waits_for_what_another_one_writes() -> None:
    store = Store()
    audit = _audit(store)
    _note(audit, "one")
    store.gate.clear()
    first = asyncio.create_task(audit.flush())
    await store.asked.wait()
    second = asyncio.create_task(audit.flush())
    await asyncio.sleep(0)
    assert not second.done()
    store.gate.set()
    await asyncio.gather(first, second)
    assert _methods(store) == ["one"]
