"""`SecretStore`, on both engines."""

from __future__ import annotations

import asyncio

import pytest
from store_house import SECOND, START, MovingClock

from runner_service.domain.errors import SecretNotFound
from runner_service.store import SqlStore


async def test_values_go_in_and_come_out_and_names_are_listed(store: SqlStore, clock: MovingClock) -> None:
    made = await store.secrets.put("token", b"\x00sealed\xff", by="me")
    clock.advance(5)
    changed = await store.secrets.put("token", b"other", by="you")
    await store.secrets.put("Alpha", b"a", by="")
    assert await store.secrets.get({"token", "none", "Alpha"}) == {"token": b"other", "Alpha": b"a"}
    assert await store.secrets.get(set()) == {}
    assert [secret.name for secret in await store.secrets.list()] == ["Alpha", "token"]
    assert (changed.created_at, changed.created_by) == (made.created_at, "you")
    assert changed.updated_at - made.updated_at == 5 * SECOND
    assert made.created_at == START


async def test_a_deleted_one_is_gone(store: SqlStore) -> None:
    await store.secrets.put("token", b"x", by="")
    await store.secrets.delete("token")
    with pytest.raises(SecretNotFound):
        await store.secrets.delete("token")
    assert await store.secrets.list() == []


async def test_two_that_set_a_new_one_at_the_same_time_do_no_harm(store: SqlStore) -> None:
    await asyncio.gather(*(store.secrets.put("token", bytes((number,)), by="") for number in range(8)))
    assert len(await store.secrets.list()) == 1
