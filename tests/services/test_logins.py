"""Users, clients, refresh tokens and issued keys, over the real store."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from services_house import House
from store_house import MovingClock

from runner_service.domain.credentials import Client
from runner_service.domain.errors import (
    ApiKeyNotFound,
    ClientInvalid,
    ClientNotFound,
    CredentialsInvalid,
    InvalidArgument,
    LoginInvalid,
    RefreshTokenExpired,
    RefreshTokenRevoked,
    RefreshTokenUnknown,
    TokenClaimMissing,
    TokenExpired,
    TokenRefused,
)
from runner_service.services.auth import (
    ApiKeys,
    Auth,
    Clients,
    Credential,
    CredentialKind,
    Logins,
    Passwords,
    Purpose,
    RefreshTokens,
    Role,
    Tokens,
    User,
    parse_authorization,
)
from runner_service.services.sealing import Sealer

DAY = 86_400
CHEAP = {"memory_kib": 64, "time_cost": 1}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The engine makes no difference here: tests/store has both."""
    return f"sqlite:///{tmp_path}/runner.db"


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(**CHEAP)


@pytest.fixture
def refresh_tokens(house: House) -> RefreshTokens:
    return RefreshTokens(store=house.store.refresh_tokens, clock=house.clock)


@pytest.fixture
def clients(house: House, passwords: Passwords, refresh_tokens: RefreshTokens) -> Clients:
    tokens = Tokens(Purpose(life_seconds=600, subject="access_token"), key="c" * 32, clock=house.clock)
    return Clients(store=house.store.clients, passwords=passwords, tokens=tokens, refresh_tokens=refresh_tokens)


async def _logins(clock: MovingClock, passwords: Passwords, *users: User) -> Logins:
    tokens = Tokens(Purpose(life_seconds=DAY, issuer="us"), key="u" * 32, clock=clock)
    return await Logins.open(users, passwords=passwords, tokens=tokens)


# passwords


async def test_a_password_is_hashed_with_a_salt_and_known_again(passwords: Passwords) -> None:
    one, other = await passwords.hash("secret"), await passwords.hash("secret")
    assert one != other and one.startswith("$argon2id$") and "secret" not in one
    assert await passwords.verify("secret", one) and await passwords.verify("secret", other)
    for wrong in ("Secret", "", "secret ", "\ud800"):
        assert not await passwords.verify(wrong, one)
    assert not await passwords.verify("nobody", None)
    assert not await passwords.verify("secret", "no hash")


async def test_passwords_are_computed_off_the_event_loop_and_few_at_one_time(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most, gate = 0, 0, threading.Semaphore(0)
    lock = threading.Lock()

    def slow(password: str, hashed: str | None) -> bool:
        nonlocal under_way, most
        assert threading.current_thread() is not threading.main_thread()
        with lock:
            under_way += 1
            most = max(most, under_way)
        gate.acquire()
        with lock:
            under_way -= 1
        return False

    monkeypatch.setattr(passwords, "_verify", slow)
    calls = [asyncio.create_task(passwords.verify("x", None)) for _ in range(6)]
    for _ in calls:
        gate.release()
    await asyncio.gather(*calls)
    assert most <= 2


# users


async def test_a_user_logs_in_and_is_known_by_the_token(clock: MovingClock, passwords: Passwords) -> None:
    hashed = await passwords.hash("root")
    logins = await _logins(
        clock, passwords, User(username="user", password="password"), User(username="admin", password=hashed)
    )
    login = await logins.login("user", "password", trusted=False)
    assert (login.username, login.expires_at) == ("user", clock.now() // 1_000_000 + DAY)
    assert (logins.principal(login.token).name, logins.principal(login.token).role) == ("user", Role.OPERATOR)
    admin = await logins.login("admin", "root", trusted=False)
    assert logins.principal(admin.token).role is Role.ADMIN
    for name, password in (("user", "root"), ("nobody", "password"), ("", ""), ("user", "")):
        with pytest.raises(LoginInvalid):
            await logins.login(name, password, trusted=True)
    with pytest.raises(TokenRefused):
        logins.principal(login.token[:-3])


async def test_without_users_only_who_is_trusted_may_log_in(clock: MovingClock, passwords: Passwords) -> None:
    logins = await _logins(clock, passwords)
    assert logins.principal((await logins.login("any", "thing", trusted=True)).token).name == "any"
    for trusted, name, password in ((False, "any", "thing"), (True, "", "thing"), (True, "any", "")):
        with pytest.raises(LoginInvalid):
            await logins.login(name, password, trusted=trusted)


# clients


async def test_a_client_gets_tokens_that_say_what_it_may(clients: Clients) -> None:
    asked = Client(
        client_id="lab",
        secret_hash="top-secret",
        role="agent",
        max_priority={"*": 7},
        allowed_queues=("q",),
        max_reservation_time={"q": 60},
        email="a@b.example",
    )
    await clients.seed([asked])
    client = await clients.authenticate("lab", "top-secret")
    assert client.built_in and client.secret_hash.startswith("$argon2id$")
    access = clients.access(client)
    assert access.expires_in == 600
    assert clients.permissions(access.token) == {
        "client_id": "lab",
        "role": "agent",
        "max_priority": {"*": 7},
        "allowed_queues": ["q"],
        "max_reservation_time": {"q": 60},
        "email": "a@b.example",
    }
    for client_id, secret in (("lab", "top-secre"), ("LAB", "top-secret"), ("", ""), ("x\x00", "y"), ("\ud800", "y")):
        with pytest.raises(ClientInvalid):
            await clients.authenticate(client_id, secret)


async def test_a_token_without_permissions_is_none_of_a_client(clients: Clients) -> None:
    with pytest.raises(TokenClaimMissing):
        clients.permissions(clients._tokens.issue({"permissions": "all"}).token)


async def test_seeding_again_keeps_the_hash_until_the_secret_changes(clients: Clients) -> None:
    asked = Client(client_id="lab", secret_hash="one-secret")
    await clients.seed([asked])
    first = await clients.get("lab")
    await clients.seed([asked])
    assert await clients.get("lab") == first
    await clients.seed([Client(client_id="lab", secret_hash="two-secret", role="admin")])
    assert (await clients.authenticate("lab", "two-secret")).role == "admin"
    with pytest.raises(ClientInvalid):
        await clients.authenticate("lab", "one-secret")
    await clients.seed([])
    assert not (await clients.get("lab")).built_in


async def test_a_refresh_token_gets_access_until_it_ends(
    clients: Clients, refresh_tokens: RefreshTokens, clock: MovingClock
) -> None:
    await clients.seed([Client(client_id="lab", secret_hash="secret")])
    token = await refresh_tokens.issue("lab")
    assert len(token) == 48
    assert clients.permissions((await clients.refresh(token)).token)["client_id"] == "lab"
    clock.advance(6 * DAY - 1)
    await clients.refresh(token)
    clock.advance(1)
    with pytest.raises(RefreshTokenExpired):
        await clients.refresh(token)
    with pytest.raises(RefreshTokenUnknown):
        await clients.refresh(token[:-1])


async def test_an_idle_refresh_token_ends(house: House) -> None:
    tokens = RefreshTokens(store=house.store.refresh_tokens, clock=house.clock, life_seconds=DAY, idle_seconds=60)
    token = await tokens.issue("lab")
    for _ in range(3):
        house.clock.advance(59)
        assert await tokens.use(token) == "lab"
    house.clock.advance(60)
    with pytest.raises(RefreshTokenExpired):
        await tokens.use(token)
    await tokens.sweep()
    with pytest.raises(RefreshTokenExpired):
        await tokens.use(token)
    house.clock.advance(1)
    await tokens.sweep()
    with pytest.raises(RefreshTokenUnknown):
        await tokens.use(token)


async def test_a_revoked_refresh_token_is_good_for_nothing(clients: Clients, refresh_tokens: RefreshTokens) -> None:
    client = await clients.save(Client(client_id="lab", secret_hash=""), secret="secret")
    one, two = await refresh_tokens.issue("lab"), await refresh_tokens.issue("lab")
    await refresh_tokens.revoke(one)
    for call in (refresh_tokens.revoke, clients.refresh):
        with pytest.raises(RefreshTokenRevoked):
            await call(one)
    with pytest.raises(RefreshTokenUnknown):
        await refresh_tokens.revoke("nothing")
    await clients.refresh(two)
    await clients.save(client, secret="new secret")
    with pytest.raises(RefreshTokenRevoked):
        await clients.refresh(two)
    await clients.delete("lab")
    with pytest.raises(ClientNotFound):
        await clients.delete("lab")


# issued keys


async def test_an_issued_key_is_good_until_revoked_or_over(house: House) -> None:
    auth = Auth(keys=[], workers=house.store.worker_credentials, issued=house.store.api_keys, clock=house.clock)
    keys = ApiKeys(store=house.store.api_keys, auth=auth, clock=house.clock, sealer=Sealer(bytes(32)))
    kept, key = await keys.create(name="ci", role=Role.OPERATOR, created_by="ann")
    short, expiring = await keys.create(name="guest", role=Role.VIEWER, created_by="ann", life_seconds=60)
    assert key.startswith(f"rk_{kept.key_id}_") and key.encode() not in kept.digest
    assert ((await auth.key(key)).name, (await auth.key(key)).role) == ("ci", Role.OPERATOR)
    forged = key.replace(kept.key_id, short.key_id)
    for wrong in (key[:-1], key + "x", forged, "rk_", "rk_nonsense"):
        with pytest.raises(CredentialsInvalid):
            await auth.key(wrong)
    house.clock.advance(60)
    with pytest.raises(CredentialsInvalid):
        await auth.key(expiring)
    revoked = await keys.revoke(kept.key_id)
    assert revoked.revoked_at == house.clock.now()
    with pytest.raises(CredentialsInvalid):
        await auth.key(key)
    assert [each.name for each in await keys.list(limit=10)] == ["ci", "guest"]
    with pytest.raises(ApiKeyNotFound):
        await keys.revoke("nothing")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": "", "role": Role.ADMIN}),
        ("name", {"name": "x" * 201, "role": Role.ADMIN}),
        ("role", {"name": "x", "role": Role.NONE}),
        ("lifetime", {"name": "x", "role": Role.ADMIN, "life_seconds": 0}),
    ],
)
async def test_what_is_wrong_with_a_new_key_is_named(house: House, field: str, values: dict[str, Any]) -> None:
    auth = Auth(keys=[], workers=house.store.worker_credentials, issued=house.store.api_keys, clock=house.clock)
    keys = ApiKeys(store=house.store.api_keys, auth=auth, clock=house.clock, sealer=Sealer(bytes(32)))
    with pytest.raises(InvalidArgument) as refused:
        await keys.create(created_by="", **values)
    assert refused.value.metadata["field"] == field


# the header


@pytest.mark.parametrize(
    ("header", "credential"),
    [
        (None, Credential(kind=CredentialKind.NONE)),
        ("  ", Credential(kind=CredentialKind.NONE)),
        ("Bearer abc", Credential(kind=CredentialKind.BEARER, token="abc")),
        ("bearer  abc ", Credential(kind=CredentialKind.BEARER, token="abc")),
        ("Bearer", Credential(kind=CredentialKind.BEARER)),
        ("aa.bb.cc", Credential(kind=CredentialKind.RAW, token="aa.bb.cc")),
        ("Basic YTpi", Credential(kind=CredentialKind.BASIC, user="a", password="b")),
        ("Basic YTpiOmM=", Credential(kind=CredentialKind.BASIC, user="a", password="b:c")),
        ("Basic ABCDEF12345", Credential(kind=CredentialKind.BROKEN_BASIC)),
        ("Basic YWI=", Credential(kind=CredentialKind.BROKEN_BASIC)),
        ("Basic /////w==", Credential(kind=CredentialKind.BROKEN_BASIC)),
        ("Basic", Credential(kind=CredentialKind.BROKEN_BASIC)),
        ("Digest a=b", Credential(kind=CredentialKind.OTHER)),
    ],
)
def test_the_header_is_read_in_its_forms(header: str | None, credential: Credential) -> None:
    assert parse_authorization(header) == credential


async def test_an_access_token_ends_with_its_refresh_token_wherever_that_was_revoked(
    house: House, clients: Clients, refresh_tokens: RefreshTokens
) -> None:
    client = await clients.save(Client(client_id="c", secret_hash=""), secret="secret")
    one, other = await refresh_tokens.issue("c"), await refresh_tokens.issue("c")
    token, still = clients.access(client, refresh_token=one).token, clients.access(client, refresh_token=other).token
    # By another server of the same store.
    await RefreshTokens(store=house.store.refresh_tokens, clock=house.clock).revoke(one)
    assert clients.permissions(token)["client_id"] == "c"
    await refresh_tokens.load()
    with pytest.raises(TokenExpired):
        clients.permissions(token)
    assert clients.permissions(still)["client_id"] == "c"
    await clients.save(client, secret="another")
    with pytest.raises(TokenExpired):
        clients.permissions(still)
