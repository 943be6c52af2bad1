"""Who may call what: every RPC, from this machine and from another, with every credential."""

from __future__ import annotations

import hashlib
import pkgutil
from importlib import import_module
from typing import Any

import pytest
from access_table import NATIVE

import runner.v1
from runner.dialects.common.v1 import health_service_pb2  # noqa: F401  Fills the descriptor pool.
from runner.dialects.sct.v1 import command_service_pb2 as sct_pb2  # noqa: F401
from runner_service.domain.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    PermissionDenied,
    RunnerError,
    RunnerNotFound,
)
from runner_service.domain.ids import new_id
from runner_service.domain.worker_credentials import CredentialsOfWorker, WorkerCredential
from runner_service.rpc.access import ANYBODY, Caller, Gatekeeper, is_local, read_rules
from runner_service.services.auth import ApiKey, Auth, Role

NATIVE_MODULES = [each.name for each in pkgutil.iter_modules(runner.v1.__path__) if each.name.endswith("_service_pb2")]
SCT = {Role.VIEWER: ["GetCommand", "ListCommands"], Role.OPERATOR: ["ExecuteCommand", "CancelCommand"]}
REFLECTION = [f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")]
NEEDED: dict[str, tuple[str, Role]] = (
    NATIVE
    | {f"/runner.dialects.sct.v1.CommandService/{n}": ("required", role) for role, names in SCT.items() for n in names}
    | {f"/grpc.health.v1.Health/{name}": ("public", Role.NONE) for name in ("Check", "List", "Watch")}
    | {"/runner.dialects.common.v1.HealthService/GetHealth": ("public", Role.NONE)}
    | dict.fromkeys(REFLECTION, ("optional", Role.VIEWER))
)
"""What each method needs, written down once more: a change of an option must be wanted."""
SERVICES = [
    *(
        service.full_name
        for module in NATIVE_MODULES
        for service in import_module(f"runner.v1.{module}").DESCRIPTOR.services_by_name.values()
    ),
    "runner.dialects.sct.v1.CommandService",
    "runner.dialects.common.v1.HealthService",
]
HERE, THERE = "ipv4:127.0.0.1:40000", "ipv4:198.18.0.2:40000"
RUNNER_ID = new_id()
CREDENTIAL = f"rw_{RUNNER_ID}_secret"
ROLES = {role.name.lower(): role for role in Role if role}


class OneRunner:
    """A store of one runner."""

    async def of(self, runner_id: str) -> CredentialsOfWorker:
        if runner_id != RUNNER_ID:
            raise RunnerNotFound(runner_id=runner_id)
        digest = hashlib.sha256(CREDENTIAL.encode()).digest()
        one = WorkerCredential(number=1, digest=digest, expires_at=86_400_000_000)
        return CredentialsOfWorker(name="one", credentials=(one,), now=0)


def _gatekeeper(**options: bool) -> Gatekeeper:
    keys = [ApiKey.of(f"{name}-key", name=name, role=role) for name, role in ROLES.items()]
    auth = Auth(keys=keys, workers=OneRunner())  # type: ignore[arg-type]
    return Gatekeeper(auth=auth, rules=read_rules(SERVICES), **{"require_auth": False, "insecure": False, **options})


async def _answer(gatekeeper: Gatekeeper, method: str, token: str | None, peer: str, **more: Any) -> str:
    authorization = None if token is None else f"Bearer {token}"
    try:
        principal = await gatekeeper.admit(method, Caller(authorization=authorization, peer=peer, **more))
    except RunnerError as error:
        return type(error).__name__
    return "anybody" if principal is ANYBODY else principal.name


def test_every_method_is_in_the_table() -> None:
    assert read_rules(SERVICES).keys() == NEEDED.keys()


@pytest.mark.parametrize("method", sorted(NEEDED))
@pytest.mark.parametrize("peer", [HERE, THERE])
async def test_who_may_call(method: str, peer: str) -> None:
    access, needed = NEEDED[method]
    gatekeeper = _gatekeeper()
    if access == "public":
        for token in (None, "bad", "viewer-key"):
            assert await _answer(gatekeeper, method, token, peer) == "anybody"
        return
    free = access == "optional" and peer == HERE
    assert await _answer(gatekeeper, method, None, peer) == ("anybody" if free else CredentialsMissing.__name__)
    assert await _answer(gatekeeper, method, "bad", peer) == CredentialsInvalid.__name__
    for name, role in ROLES.items():
        by_rank = role is not Role.WORKER and role >= needed
        may = role in (Role.WORKER, Role.ADMIN) if needed is Role.WORKER else by_rank
        assert await _answer(gatekeeper, method, f"{name}-key", peer) == (name if may else PermissionDenied.__name__)
    mine = "runner:one" if needed is Role.WORKER else PermissionDenied.__name__
    assert await _answer(gatekeeper, method, CREDENTIAL, peer) == mine


async def test_require_auth_closes_this_machine_too_and_insecure_opens_it_to_all() -> None:
    method = "/runner.v1.JobService/CreateJob"
    assert await _answer(_gatekeeper(require_auth=True), method, None, HERE) == CredentialsMissing.__name__
    assert await _answer(_gatekeeper(require_auth=True), method, None, "unix:") == CredentialsMissing.__name__
    assert await _answer(_gatekeeper(insecure=True), method, None, THERE) == "anybody"
    assert await _answer(_gatekeeper(insecure=True), method, "bad", THERE) == CredentialsInvalid.__name__
    both = _gatekeeper(insecure=True, require_auth=True)
    assert await _answer(both, method, None, THERE) == CredentialsMissing.__name__
    # The local worker registers over the socket in the data directory, and nobody else.
    register = "/runner.v1.RunnerService/RegisterRunner"
    assert await _answer(_gatekeeper(require_auth=True), register, None, "unix:") == "anybody"
    assert await _answer(_gatekeeper(require_auth=True), register, None, HERE) == CredentialsMissing.__name__
    # What workers need is never open.
    sync = "/runner.v1.DispatchService/Sync"
    assert await _answer(_gatekeeper(insecure=True), sync, None, THERE) == CredentialsMissing.__name__


async def test_a_method_without_a_rule_is_closed() -> None:
    gatekeeper = _gatekeeper()
    assert await _answer(gatekeeper, "/new.v1.Service/Method", None, HERE) == CredentialsMissing.__name__
    assert await _answer(gatekeeper, "/new.v1.Service/Method", "operator-key", HERE) == PermissionDenied.__name__
    assert await _answer(gatekeeper, "/new.v1.Service/Method", "admin-key", HERE) == "admin"


@pytest.mark.parametrize(
    ("more", "writes", "reads"),
    [
        pytest.param({}, True, True, id="no page"),
        pytest.param({"forwarded": True}, False, False, id="through a proxy that is not trusted to say for whom"),
        pytest.param({"origin": "https://evil.example"}, False, False, id="a page of another site, in a browser here"),
        pytest.param({"origin": "null"}, False, False, id="a page without a site"),
        pytest.param({"origin": "http://[::1"}, False, False, id="no origin at all"),
        pytest.param({"origin": "http://localhost:3000"}, True, True, id="a page of this machine"),
        pytest.param({"origin": "http://127.0.0.1:3000"}, True, True, id="a page of this machine by address"),
        pytest.param({"origin": "https://named.example"}, True, True, id="an origin of the settings"),
    ],
)
async def test_a_call_that_somebody_else_speaks_through_is_not_from_here(
    more: dict[str, Any], writes: bool, reads: bool
) -> None:
    gatekeeper = _gatekeeper()
    gatekeeper.origins = frozenset({"https://named.example"})
    for method, free in (("CreateJob", writes), ("GetJob", reads)):
        answer = await _answer(gatekeeper, f"/runner.v1.JobService/{method}", None, HERE, **more)
        assert answer == ("anybody" if free else CredentialsMissing.__name__)
        assert await _answer(gatekeeper, f"/runner.v1.JobService/{method}", "admin-key", HERE, **more) == "admin"


@pytest.mark.parametrize(
    ("peer", "listener", "local"),
    [
        ("unix:", None, True),
        ("unix:/run/grpc.sock", None, True),
        ("ipv4:127.0.0.1:1", None, True),
        ("ipv4:127.8.9.10:1", None, True),
        ("ipv6:[::1]:1", None, True),
        ("ipv6:%5B::1%5D:1", None, True),
        ("ipv4:198.18.0.2:1", None, False),
        ("ipv4:0.0.0.0:1", None, False),
        ("ipv6:[fe80::1]:1", None, False),
        ("ipv6:[::]:1", None, False),
        ("", None, False),
        ("nonsense", None, False),
        ("vsock:3:1", None, False),
        # Through HTTP the listener counts too: one that others can reach is a door for others.
        ("ipv4:127.0.0.1:1", "127.0.0.1:8080", True),
        ("ipv4:127.0.0.1:1", "0.0.0.0:8080", False),
        ("ipv4:127.0.0.1:1", "198.18.0.1:8080", False),
        ("ipv4:198.18.0.2:1", "127.0.0.1:8080", False),
        ("ipv6:[::1]:1", "[::1]:8080", True),
        ("ipv4:127.0.0.1:1", "", False),
    ],
)
def test_what_counts_as_this_machine(peer: str, listener: str | None, local: bool) -> None:
    assert is_local(peer, listener) is local
