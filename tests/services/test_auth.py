"""Who calls, and what the role allows: the whole table."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest
from services_house import House

from runner_service.domain.errors import (
    CredentialsEmpty,
    CredentialsInvalid,
    CredentialsMissing,
    CredentialsScheme,
    PermissionDenied,
    RunnerError,
)
from runner_service.services.auth import ApiKey, Auth, Principal, Role, authenticator, demand
from runner_service.services.runners import NewRunner

KEYS = [ApiKey.of(f"{role.name.lower()}-key", name=role.name.lower(), role=role) for role in Role if role]
ALLOWED = {
    Role.VIEWER: {Role.NONE, Role.VIEWER},
    Role.OPERATOR: {Role.NONE, Role.VIEWER, Role.OPERATOR},
    Role.ADMIN: {Role.NONE, Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.WORKER},
    Role.WORKER: {Role.WORKER},
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The engine makes no difference here."""
    return f"sqlite:///{tmp_path}/runner.db"


@pytest.fixture
def auth(house: House) -> Auth:
    return Auth(keys=KEYS, workers=house.store.worker_credentials)


@pytest.mark.parametrize("role", list(ALLOWED))
@pytest.mark.parametrize("needed", list(Role))
def test_roles_include_those_below_and_workers_stand_alone(role: Role, needed: Role) -> None:
    principal = Principal(name="x", role=role)
    assert principal.may(needed) is (needed in ALLOWED[role])
    if needed not in ALLOWED[role]:
        with pytest.raises(PermissionDenied) as denied:
            demand(principal, needed)
        assert denied.value.metadata == {"needed": needed.name.lower(), "role": role.name.lower()}


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, CredentialsMissing),
        ("", CredentialsScheme),
        ("admin-key", CredentialsScheme),
        ("Basic YTpi", CredentialsScheme),
        ("bearer admin-key", CredentialsScheme),
        ("Bearer", CredentialsScheme),
        ("Bearer ", CredentialsEmpty),
        ("Bearer    ", CredentialsEmpty),
        ("Bearer nobody", CredentialsInvalid),
        ("Bearer ADMIN-KEY", CredentialsInvalid),
        ("Bearer admin-key2", CredentialsInvalid),
        ("Bearer \udcff", CredentialsInvalid),
        ("Bearer rw_", CredentialsInvalid),
        ("Bearer rw_01999999-0000-7000-8000-000000000000_secret", CredentialsInvalid),
        ("Bearer rw_nonsense", CredentialsInvalid),
    ],
)
async def test_what_is_wrong_with_a_credential_is_said(
    auth: Auth, header: str | None, error: type[RunnerError]
) -> None:
    with pytest.raises(error) as refused:
        await auth.authenticate(header)
    assert type(refused.value) is error
    assert "admin-key" not in str(refused.value)


async def test_keys_are_known_by_name_and_role(auth: Auth) -> None:
    for key in KEYS:
        principal = await auth.authenticate(f"Bearer {key.name}-key")
        assert (principal.name, principal.role) == (key.name, key.role)


async def test_every_key_is_compared_whichever_is_right(auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    class Counting:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append(one)
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(authenticator, "hmac", Counting)
    for token in ("viewer-key", "worker-key", "nobody"):
        compared.clear()
        try:
            await auth.authenticate(f"Bearer {token}")
        except CredentialsInvalid:
            pass
        assert len(compared) == len(KEYS), "the time tells nothing"
    assert all(len(digest) == 32 for digest in compared)


async def test_the_credential_of_a_worker_is_its_own(house: House, auth: Auth) -> None:
    runner, credential = await house.runners.registry.register(NewRunner(name="one"))
    other, _ = await house.runners.registry.register(NewRunner(name="two"))
    principal = await auth.authenticate(f"Bearer {credential}")
    assert (principal.role, principal.runner_id) == (Role.WORKER, runner.runner_id)
    forged = credential.replace(runner.runner_id, other.runner_id)
    for wrong in (forged, credential + "x", credential[:-1]):
        with pytest.raises(CredentialsInvalid):
            await auth.authenticate(f"Bearer {wrong}")
    (kept,) = (await house.store.worker_credentials.of(runner.runner_id)).credentials
    assert (credential.encode() in kept.digest, len(kept.digest), kept.nonce) == (False, 32, "")
