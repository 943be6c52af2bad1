"""API keys, clients, refresh tokens and the audit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_house import SECOND, START, MovingClock

from runner_service.domain.audit import AuditEntry
from runner_service.domain.credentials import Client, IssuedKey, RefreshToken
from runner_service.domain.errors import ApiKeyNotFound, ClientNotFound
from runner_service.domain.ids import new_id
from runner_service.domain.principals import Role
from runner_service.store import SqlStore


def _key(**fields: object) -> IssuedKey:
    return replace(IssuedKey(key_id=new_id(), name="ci", role=Role.OPERATOR, digest=b"\x01" * 32), **fields)  # type: ignore[arg-type]


def _token(digest: bytes, **fields: int) -> RefreshToken:
    return replace(
        RefreshToken(digest=digest, client_id="lab", issued_at=START, used_at=START, expires_at=START + 60 * SECOND),
        **fields,  # type: ignore[arg-type]
    )


def _entry(number: int, **fields: object) -> AuditEntry:
    entry = AuditEntry(
        at=START + number * SECOND, principal="ann", role="admin", peer="ipv4:127.0.0.1:1", method=f"/s.S/{number}"
    )
    return replace(entry, **fields)  # type: ignore[arg-type]


async def test_a_key_comes_back_as_it_went_in_with_its_time(store: SqlStore, clock: MovingClock) -> None:
    asked = _key(created_by="ann", expires_at=START + 1)
    kept, _ = await store.api_keys.add(asked)
    assert kept == replace(asked, created_at=clock.now())
    assert await store.api_keys.get(kept.key_id) == kept
    assert await store.api_keys.add(_key(role=Role.WORKER))


async def test_keys_come_in_pages_in_order_of_making(store: SqlStore) -> None:
    made = [(await store.api_keys.add(_key(name=name)))[0] for name in "bac"]
    assert list(await store.api_keys.list(limit=0)) == made
    assert list(await store.api_keys.list(limit=2)) == made[:2]
    assert list(await store.api_keys.list(limit=2, after=made[1].key_id)) == made[2:]


async def test_a_key_is_revoked_once(store: SqlStore, clock: MovingClock) -> None:
    key, _ = await store.api_keys.add(_key())
    clock.advance(1)
    revoked = await store.api_keys.revoke(key.key_id)
    clock.advance(1)
    assert revoked.revoked_at == START + SECOND
    assert await store.api_keys.revoke(key.key_id) == revoked == await store.api_keys.get(key.key_id)


@pytest.mark.parametrize("unknown", ["", "x", "\x00", "\ud800", "01999999-0000-7000-8000-000000000000"])
async def test_what_is_unknown_is_not_found(store: SqlStore, unknown: str) -> None:
    for call in (store.api_keys.get, store.api_keys.revoke):
        with pytest.raises(ApiKeyNotFound):
            await call(unknown)
    for get in (store.clients.get, store.clients.delete):
        with pytest.raises(ClientNotFound):
            await get(unknown)


async def test_a_client_comes_back_and_is_replaced(store: SqlStore) -> None:
    client = Client(
        client_id="lab/ä",
        secret_hash="$argon2id$…",
        role="manager",
        max_priority={"*": 1, "q": 2},
        allowed_queues=["b", "a"],
        max_reservation_time={"q": 3},
        email="a@b.example",
        built_in=True,
    )
    await store.clients.put(client)
    assert await store.clients.get("lab/ä") == client
    await store.clients.put(replace(client, role="agent", built_in=False))
    await store.clients.put(Client(client_id="a", secret_hash="x"))
    assert [(one.client_id, one.role) for one in await store.clients.list()] == [
        ("a", "contributor"),
        ("lab/ä", "agent"),
    ]
    await store.clients.delete("a")
    assert [one.client_id for one in await store.clients.list()] == ["lab/ä"]


async def test_a_refresh_token_is_touched_and_revoked_once(store: SqlStore) -> None:
    token = _token(b"1")
    await store.refresh_tokens.add(token)
    await store.refresh_tokens.touch(b"1", used_at=START + 5)
    assert await store.refresh_tokens.get(b"1") == replace(token, used_at=START + 5)
    assert await store.refresh_tokens.revoke(b"1", at=START + 6)
    assert not await store.refresh_tokens.revoke(b"1", at=START + 7)
    found = await store.refresh_tokens.get(b"1")
    assert found is not None and found.revoked_at == START + 6
    assert await store.refresh_tokens.get(b"2") is None
    assert not await store.refresh_tokens.revoke(b"2", at=START)


async def test_all_tokens_of_a_client_are_revoked_and_the_old_are_purged(store: SqlStore) -> None:
    for token in (_token(b"1"), _token(b"2", expires_at=START - 1), _token(b"3", used_at=START - 9)):
        await store.refresh_tokens.add(token)
    await store.refresh_tokens.add(replace(_token(b"4"), client_id="other"))
    await store.refresh_tokens.revoke_all("lab", at=START + 1)
    found = [await store.refresh_tokens.get(digest) for digest in (b"1", b"2", b"3", b"4")]
    assert [token.revoked_at for token in found if token] == [START + 1, START + 1, START + 1, None]
    assert await store.refresh_tokens.purge(expired_before=START, idle_since=START - 8) == 2
    left = [await store.refresh_tokens.get(digest) for digest in (b"1", b"2", b"3", b"4")]
    assert [token is not None for token in left] == [True, False, False, True]


async def test_the_audit_is_read_backwards_in_pages(store: SqlStore) -> None:
    await store.audit.append([_entry(number) for number in range(3)])
    await store.audit.append([_entry(3, principal="bob", target="id", status="NOT_FOUND", request_id="r")])
    newest = await store.audit.list(limit=2)
    assert [entry.method for entry in newest] == ["/s.S/3", "/s.S/2"]
    assert replace(newest[0], sequence=0) == _entry(3, principal="bob", target="id", status="NOT_FOUND", request_id="r")
    older = await store.audit.list(limit=9, before=newest[-1].sequence)
    assert [entry.method for entry in older] == ["/s.S/1", "/s.S/0"]
    assert [entry.method for entry in await store.audit.list(limit=9, principal="bob")] == ["/s.S/3"]


async def test_the_audit_takes_any_text(store: SqlStore) -> None:
    await store.audit.append([_entry(0, principal="a\x00\ud800b", target="ä" * 1000)])
    (entry,) = await store.audit.list(limit=1)
    assert (entry.principal, entry.target) == ("a\ufffd?b", "ä" * 1000)


async def test_the_oldest_entries_are_purged_piece_by_piece(store: SqlStore) -> None:
    await store.audit.append([_entry(number) for number in range(5)])
    assert await store.audit.purge(before=START + 3 * SECOND, limit=2) == 2
    assert await store.audit.purge(before=START + 3 * SECOND, limit=2) == 1
    assert await store.audit.purge(before=START + 3 * SECOND, limit=2) == 0
    assert [entry.method for entry in await store.audit.list(limit=9)] == ["/s.S/4", "/s.S/3"]
