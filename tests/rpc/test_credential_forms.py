"""How each documented API takes credentials: its page of the contract as a table."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest

from runner.gateway.v1 import options_pb2
from runner_service import config
from runner_service.access import Access, open_access
from runner_service.app import SystemClock
from runner_service.domain.errors import RunnerError
from runner_service.domain.principals import Principal, Role
from runner_service.rpc import forms
from runner_service.rpc.access import ANYBODY, Caller, Gatekeeper, Rule
from runner_service.services.auth import CredentialKind
from runner_service.services.sealing import Sealer
from runner_service.store import open_store

HERE, THERE = "ipv4:127.0.0.1:40000", "ipv4:198.18.0.2:40000"
OPEN, OPTIONAL = options_pb2.ACCESS_OPEN, options_pb2.ACCESS_OPTIONAL
REQUIRED, PUBLIC = options_pb2.ACCESS_REQUIRED, options_pb2.ACCESS_PUBLIC
SECRET = "s" * 32
BASE: dict[str, Any] = {
    "security": {"api_keys": ["plain-key", {"key": "boss-key", "name": "boss", "role": "admin"}]},
    "sentinel": {"users": {"user": "password", "admin": "root"}},
    "testflinger": {"clients": [{"client_id": "demo", "secret": "demo-secret", "role": "agent"}]},
    "rustci": {"jwt_secret": SECRET},
}


@dataclass
class Door:
    """One RPC of an API, and everything that lets callers in."""

    access: Access
    settings: config.Settings

    async def answer(self, package: str, rule: Rule, peer: str = HERE, **caller: Any) -> Any:
        """The principal, or the reason of the refusal."""
        gatekeeper = Gatekeeper(
            auth=self.access.auth,
            rules={f"/runner.dialects.{package}.v1.S/M": rule},
            require_auth=self.settings.security.require_auth,
            insecure=False,
            forms=self.access.forms,
        )
        try:
            return await gatekeeper.admit(f"/runner.dialects.{package}.v1.S/M", Caller(peer=peer, **caller))
        except RunnerError as error:
            return error.reason

    async def login(self, username: str, password: str) -> str:
        return (await self.access.logins.login(username, password, trusted=False)).token


@pytest.fixture
async def door(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    given = {**BASE, **getattr(request, "param", {})}
    given = {name: {**BASE.get(name, {}), **section} for name, section in given.items()}
    settings = config.load(None, given)
    async with open_store(f"sqlite:///{tmp_path}/runner.db") as store:
        yield Door(
            await open_access(settings, store=store, clock=SystemClock(), secrets=tmp_path, sealer=Sealer(bytes(32))),
            settings,
        )


def with_settings(**sections: Any) -> Any:
    return pytest.mark.parametrize("door", [sections], indirect=True)


def foreign(key: str = SECRET, **claims: Any) -> str:
    return jwt.encode({"exp": 4_000_000_000, **claims}, key, algorithm="HS256")


# RustCI

READ, SUBMIT, REGISTER = (Rule(OPEN, role) for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN))


async def test_rustci_ignores_what_is_sent_while_auth_is_off(door: Door) -> None:
    for caller in ({}, {"api_key": "your-api-key"}, {"authorization": "Bearer x.y.z"}, {"authorization": "nonsense"}):
        assert await door.answer("rustci", REGISTER, **caller) is ANYBODY
    assert await door.answer("rustci", REGISTER, THERE) == "CREDENTIALS_MISSING"
    assert (await door.answer("rustci", REGISTER, THERE, api_key="boss-key")).name == "boss"


@with_settings(rustci={"require_auth": True})
async def test_rustci_takes_bearer_first_and_either_is_enough(door: Door) -> None:
    user, admin = await door.login("user", "password"), await door.login("admin", "root")

    async def answer(rule: Rule, **caller: Any) -> Any:
        got = await door.answer("rustci", rule, **caller)
        return got.name if isinstance(got, Principal) else got

    assert await answer(READ) == "CREDENTIALS_MISSING"
    assert await answer(SUBMIT, authorization=f"Bearer {user}") == "user"
    assert await answer(REGISTER, authorization=f"Bearer {user}") == "ROLE_INSUFFICIENT"
    assert await answer(REGISTER, authorization=f"Bearer {admin}") == "admin"
    assert await answer(REGISTER, authorization=f"Bearer {foreign(sub='ann', role='admin')}") == "ann"
    assert await answer(REGISTER, authorization=f"Bearer {foreign(sub='ann', roles=['user', 'admin'])}") == "ann"
    assert await answer(SUBMIT, authorization=f"Bearer {foreign(sub='bob')}") == "bob"
    assert await answer(REGISTER, authorization=f"Bearer {foreign(sub='bob')}") == "ROLE_INSUFFICIENT"
    assert await answer(READ, authorization=f"Bearer {foreign(sub='eve', role='other')}") == "ROLE_INSUFFICIENT"
    assert await answer(READ, authorization=f"Bearer {foreign('x' * 32, sub='eve')}") == "TOKEN_SIGNATURE"
    assert await answer(READ, authorization="Token abc") == "CREDENTIALS_SCHEME"
    assert await answer(SUBMIT, api_key="plain-key") == "key-1"
    assert await answer(REGISTER, api_key="plain-key") == "ROLE_INSUFFICIENT"
    assert await answer(SUBMIT, api_key="your-api-key") == "CREDENTIALS_INVALID"
    assert await answer(SUBMIT, api_key="plain-key", authorization=f"Bearer {user}") == "user"
    assert await answer(SUBMIT, api_key="plain-key", authorization="Bearer x.y.z") == "key-1"
    assert await answer(SUBMIT, api_key="nothing", authorization=f"Bearer {user}") == "user"
    assert await answer(SUBMIT, authorization="Bearer plain-key") == "key-1"
    # The feed of status changes and health; the feed may be watched by a page of another site too.
    assert await answer(Rule(OPEN, Role.NONE, feed=True), origin="https://any.example") == ""
    assert await answer(Rule(OPEN, Role.NONE), origin="https://any.example") == "CREDENTIALS_MISSING"
    assert await answer(Rule(OPEN, Role.NONE)) == ""
    assert await answer(Rule(PUBLIC, Role.NONE), authorization="nonsense") == ""


@with_settings(rustci={"require_auth": True}, sentinel={"users": {}})
async def test_rustci_takes_no_login_that_anybody_could_have(door: Door) -> None:
    token = (await door.access.logins.login("admin", "anything", trusted=True)).token
    assert await door.answer("rustci", READ, authorization=f"Bearer {token}") == "TOKEN_SIGNATURE"


# SentinelStacks

REGISTRY, AGENTS, LOGIN = Rule(REQUIRED, Role.OPERATOR), Rule(OPTIONAL, Role.OPERATOR), Rule(PUBLIC, Role.NONE)


@pytest.mark.parametrize(
    ("door", "rule", "peer", "without"),
    [
        pytest.param({}, REGISTRY, HERE, "CREDENTIALS_MISSING", id="the registry always"),
        pytest.param({}, AGENTS, HERE, None, id="agents not"),
        pytest.param({"sentinel": {"require_auth": True}}, AGENTS, HERE, "CREDENTIALS_MISSING", id="unless set"),
        pytest.param({"sentinel": {"require_auth": True}}, Rule(OPEN, Role.OPERATOR), HERE, None, id="sockets never"),
        pytest.param({}, AGENTS, THERE, "CREDENTIALS_MISSING", id="nothing is open to other machines"),
    ],
    indirect=["door"],
)
async def test_sentinel_demands_a_token_where_its_page_says(
    door: Door, rule: Rule, peer: str, without: str | None
) -> None:
    assert await door.answer("sentinelstacks", rule, peer) == (without or ANYBODY)
    token = await door.login("user", "password")
    assert (await door.answer("sentinelstacks", rule, peer, authorization=f"Bearer {token}")).name == "user"
    assert (await door.answer("sentinelstacks", rule, peer, authorization="Bearer plain-key")).name == "key-1"
    # A bad one that is sent is refused everywhere.
    for header, reason in (
        ("Bearer nonsense", "TOKEN_UNDECODABLE"),
        (f"Bearer {foreign(iss='sentinelstacks-api', username='user', iat=1)}", "TOKEN_SIGNATURE"),
        (f"Basic {base64.b64encode(b'user:password').decode()}", "CREDENTIALS_SCHEME"),
        ("Bearer ", "CREDENTIALS_SCHEME"),
        (token, "CREDENTIALS_SCHEME"),
    ):
        assert await door.answer("sentinelstacks", rule, peer, authorization=header) == reason


async def test_sentinel_looks_at_no_token_where_one_logs_in(door: Door) -> None:
    """A client that shows the token that has ended could never get another."""
    for header in (None, "Bearer nonsense", f"Bearer {await door.login('user', 'password')}"):
        assert await door.answer("sentinelstacks", LOGIN, THERE, authorization=header) is ANYBODY


async def test_a_login_token_has_the_documented_claims(door: Door) -> None:
    claims = jwt.decode(await door.login("admin", "root"), options={"verify_signature": False})
    assert (claims.pop("exp") - claims.pop("iat")) == 24 * 3600
    assert claims == {"username": "admin", "admin": True, "iss": "sentinelstacks-api"}


# Testflinger


async def test_testflinger_hands_on_what_was_sent_and_judges_only_off_this_machine(door: Door) -> None:
    client = await door.access.clients.authenticate("demo", "demo-secret")
    token = door.access.clients.access(client).token
    rule = Rule(OPEN, Role.NONE)
    for header, kind in (
        (None, CredentialKind.NONE),
        (token, CredentialKind.RAW),
        (f"Bearer {token}", CredentialKind.BEARER),
        ("Bearer nonsense", CredentialKind.BEARER),
        ("Digest x", CredentialKind.OTHER),
    ):
        assert await door.answer("testflinger", rule, authorization=header) is ANYBODY
        assert forms.current_credential.get().kind is kind
    basic = f"Basic {base64.b64encode(b'demo:demo-secret').decode()}"
    assert await door.answer("testflinger", Rule(PUBLIC, Role.NONE), THERE, authorization=basic) is ANYBODY
    assert forms.current_credential.get().password == "demo-secret"

    for header in (token, f"Bearer {token}"):
        assert (await door.answer("testflinger", rule, THERE, authorization=header)).name == "demo"
    assert (await door.answer("testflinger", rule, THERE, authorization="Bearer plain-key")).name == "key-1"
    for header, reason in (
        (None, "CREDENTIALS_MISSING"),
        (basic, "CREDENTIALS_SCHEME"),
        ("Bearer nonsense", "TOKEN_UNDECODABLE"),
        (f"Bearer {await door.login('user', 'password')}", "TOKEN_SIGNATURE"),
    ):
        assert await door.answer("testflinger", rule, THERE, authorization=header) == reason


# KubeAgents

REPORT = Rule(OPEN, Role.OPERATOR)


async def test_kubeagents_asks_for_nothing_by_default(door: Door) -> None:
    for header in (None, "Bearer nonsense", "nonsense"):
        assert await door.answer("kubeagents", REPORT, authorization=header) is ANYBODY
        assert await door.answer("kubeagents", REPORT, authorization=header, origin="https://any.example") is ANYBODY
    assert await door.answer("kubeagents", REPORT, THERE) == "CREDENTIALS_MISSING"


@with_settings(kubeagents={"api_keys": ["agent-key", {"key": "view-key", "role": "viewer"}]})
async def test_kubeagents_with_keys_demands_one(door: Door) -> None:
    for peer in (HERE, THERE):
        assert (await door.answer("kubeagents", REPORT, peer, authorization="Bearer agent-key")).name == "key-1"
        assert (await door.answer("kubeagents", REPORT, peer, authorization="Bearer boss-key")).name == "boss"
        for header, reason in (
            (None, "CREDENTIALS_MISSING"),
            ("Bearer nonsense", "CREDENTIALS_INVALID"),
            ("Basic YTpi", "CREDENTIALS_INVALID"),
            ("Bearer view-key", "ROLE_INSUFFICIENT"),
        ):
            assert await door.answer("kubeagents", REPORT, peer, authorization=header) == reason


# the keys that tokens are signed with


async def test_secrets_are_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    from runner_service.secret_files import secret

    made = secret(tmp_path, "one")
    assert len(made) == 64 and secret(tmp_path, "one") == made != secret(tmp_path, "two")
    assert [(path.name, path.stat().st_mode & 0o777) for path in sorted(tmp_path.iterdir())] == [
        ("one.key", 0o600),
        ("two.key", 0o600),
    ]


@pytest.mark.parametrize("pair", [("sentinel", "testflinger"), ("sentinel", "rustci"), ("testflinger", "rustci")])
async def test_two_apis_never_sign_with_one_key(tmp_path: Path, pair: tuple[str, str]) -> None:
    names = {"sentinel": "token_auth_secret", "testflinger": "token_secret", "rustci": "jwt_secret"}
    settings = config.load(None, {name: {names[name]: SECRET} for name in pair})
    async with open_store(f"sqlite:///{tmp_path}/runner.db") as store:
        with pytest.raises(config.ConfigError, match="must differ"):
            await open_access(settings, store=store, clock=SystemClock(), secrets=tmp_path, sealer=Sealer(bytes(32)))
