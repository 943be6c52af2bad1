"""API keys, clients and refresh tokens."""

from __future__ import annotations

import json
from dataclasses import replace

from sqlalchemy import LargeBinary, bindparam, delete, insert, or_, select, update
from sqlalchemy.sql.elements import BindParameter

from runner_service.domain.credentials import Client, IssuedKey, RefreshToken
from runner_service.domain.errors import ApiKeyNotFound, ClientNotFound
from runner_service.domain.ids import is_id
from runner_service.domain.principals import Role
from runner_service.ports.store import Mark
from runner_service.store import answers
from runner_service.store.schema import api_keys, clients, refresh_tokens
from runner_service.store.statements import Connection, Query, Row, integer, string


def _digest(name: str = "wanted") -> BindParameter[bytes]:
    return bindparam(name, type_=LargeBinary())


ADD_KEY = Query(insert(api_keys))
KEY = Query(select(api_keys).where(api_keys.c.key_id == string("wanted")))
# Walks the primary key and stops at the limit.
KEYS = Query(
    select(api_keys).where(api_keys.c.key_id > string("after")).order_by(api_keys.c.key_id).limit(integer("size"))
)
REVOKE_KEY = Query(
    update(api_keys)
    .values(revoked_at=integer("now"))
    .where(api_keys.c.key_id == string("wanted"), api_keys.c.revoked_at.is_(None))
)

ADD_CLIENT = Query(insert(clients))
CLIENT = Query(select(clients).where(clients.c.client_id == string("wanted")))
CLIENTS = Query(select(clients).order_by(clients.c.client_id))
DROP_CLIENT = Query(delete(clients).where(clients.c.client_id == string("wanted")))

ADD_TOKEN = Query(insert(refresh_tokens))
TOKEN = Query(select(refresh_tokens).where(refresh_tokens.c.digest == _digest()))
TOUCH_TOKEN = Query(update(refresh_tokens).values(used_at=integer("now")).where(refresh_tokens.c.digest == _digest()))
REVOKE_TOKEN = Query(
    update(refresh_tokens)
    .values(revoked_at=integer("now"))
    .where(refresh_tokens.c.digest == _digest(), refresh_tokens.c.revoked_at.is_(None))
)
REVOKE_TOKENS = Query(
    update(refresh_tokens)
    .values(revoked_at=integer("now"))
    .where(refresh_tokens.c.client_id == string("wanted"), refresh_tokens.c.revoked_at.is_(None))
)
REVOKED_TOKENS = Query(select(refresh_tokens.c.digest).where(refresh_tokens.c.revoked_at >= integer("since")))
PURGE_TOKENS = Query(
    delete(refresh_tokens).where(
        or_(refresh_tokens.c.expires_at < integer("expired"), refresh_tokens.c.used_at < integer("idle"))
    )
)


# API keys


def _key_of(row: Row) -> IssuedKey:
    return IssuedKey(
        key_id=row[0],
        name=row[1],
        role=Role[row[2].upper()],
        digest=row[3],
        created_at=row[4],
        created_by=row[5],
        expires_at=row[6],
        revoked_at=row[7],
    )


def add_key(conn: Connection, key: IssuedKey, mark: Mark | None, note: str) -> tuple[IssuedKey, str]:
    if (known := answers.known(conn, mark)) is not None:
        key_id, _, note = known.partition(" ")
        return get_key(conn, key_id), note
    answers.note(conn, mark, f"{key.key_id} {note}")
    key = replace(key, created_at=conn.now())
    conn.run(
        ADD_KEY,
        {
            "key_id": key.key_id,
            "name": key.name,
            "role": key.role.word,
            "digest": key.digest,
            "created_at": key.created_at,
            "created_by": key.created_by,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
        },
    )
    return key, note


def get_key(conn: Connection, key_id: str) -> IssuedKey:
    row = conn.one(KEY, {"wanted": key_id}) if is_id(key_id) else None
    if row is None:
        raise ApiKeyNotFound(key_id=key_id)
    return _key_of(row)


def list_keys(conn: Connection, limit: int, after: str) -> list[IssuedKey]:
    return [_key_of(row) for row in conn.all(KEYS, {"after": after, "size": limit or 2**62})]


def revoke_key(conn: Connection, key_id: str) -> IssuedKey:
    if is_id(key_id):
        conn.run(REVOKE_KEY, {"wanted": key_id, "now": conn.now()})
    return get_key(conn, key_id)


# clients


def _client_of(row: Row) -> Client:
    return Client(client_id=row[0], secret_hash=row[1], role=row[2], built_in=bool(row[4]), **json.loads(row[3]))


def put_client(conn: Connection, client: Client) -> None:
    permissions = {
        "max_priority": dict(client.max_priority),
        "allowed_queues": list(client.allowed_queues),
        "max_reservation_time": dict(client.max_reservation_time),
        "email": client.email,
    }
    conn.serialize(_CLIENTS_LOCK)  # two that put one client end with one row
    conn.run(DROP_CLIENT, {"wanted": client.client_id})
    conn.run(
        ADD_CLIENT,
        {
            "client_id": client.client_id,
            "secret_hash": client.secret_hash,
            "role": client.role,
            "permissions": json.dumps(permissions, separators=(",", ":")),
            "built_in": int(client.built_in),
        },
    )


_CLIENTS_LOCK = 0x434C4E54


def get_client(conn: Connection, client_id: str) -> Client:
    row = conn.one(CLIENT, {"wanted": client_id}) if _is_text(client_id) else None
    if row is None:
        raise ClientNotFound(client_id=client_id)
    return _client_of(row)


def list_clients(conn: Connection) -> list[Client]:
    return [_client_of(row) for row in conn.all(CLIENTS)]


def delete_client(conn: Connection, client_id: str) -> None:
    if not _is_text(client_id) or not conn.run(DROP_CLIENT, {"wanted": client_id}):
        raise ClientNotFound(client_id=client_id)


def _is_text(text: str) -> bool:
    """Whether the engines take it: PostgreSQL knows no NUL, neither knows half a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


# refresh tokens


def add_token(conn: Connection, token: RefreshToken) -> None:
    conn.run(
        ADD_TOKEN,
        {
            "digest": token.digest,
            "client_id": token.client_id,
            "issued_at": token.issued_at,
            "used_at": token.used_at,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
        },
    )


def get_token(conn: Connection, digest: bytes) -> RefreshToken | None:
    row = conn.one(TOKEN, {"wanted": digest})
    if row is None:
        return None
    return RefreshToken(
        digest=row[0], client_id=row[1], issued_at=row[2], used_at=row[3], expires_at=row[4], revoked_at=row[5]
    )


def touch_token(conn: Connection, digest: bytes, used_at: int) -> None:
    conn.run(TOUCH_TOKEN, {"wanted": digest, "now": used_at})


def revoke_token(conn: Connection, digest: bytes, at: int) -> bool:
    return conn.run(REVOKE_TOKEN, {"wanted": digest, "now": at}) > 0


def revoke_tokens(conn: Connection, client_id: str, at: int) -> None:
    conn.run(REVOKE_TOKENS, {"wanted": client_id, "now": at})


def revoked_tokens(conn: Connection, since: int) -> list[bytes]:
    return [bytes(digest) for (digest,) in conn.all(REVOKED_TOKENS, {"since": since})]


def purge_tokens(conn: Connection, expired_before: int, idle_since: int) -> int:
    return conn.run(PURGE_TOKENS, {"expired": expired_before, "idle": idle_since})
