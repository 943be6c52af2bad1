"""What a Sync costs while it is parked."""

from __future__ import annotations

import asyncio

import pytest
from services_house import House, parked

from runner_service.domain.dispatch import Action


async def test_a_parked_sync_looks_no_longer_at_what_is_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await house.worker(slots=2)
    worker.changes_only = True
    for _ in range(12):
        await house.job()
    _, ended = [order.attempt_id for order in await worker.sync()]
    assert [order.action for order in await worker.sync()] == [Action.RUN, Action.RUN]
    call = worker.call()
    assert await parked(call)
    looked: list[str] = []
    signals = house.store.signals
    followed = signals.followed
    monkeypatch.setattr(signals, "followed", lambda topic: looked.append(topic) or followed(topic))
    for _ in range(10):
        (order,) = await worker.exchange(ended)
        await worker.exchange(held=[order])
        ended = order.attempt_id
        looked.clear()
        await asyncio.sleep(0)  # The parked call wakes.
    assert 0 < len(set(looked)) <= 3, "the two of its list, and the one that came last"
    call.cancel()
