"""A part of the composition root: from the settings to everything that lets callers in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner_service.config import ConfigError, Key, LabClient, Settings
from runner_service.domain.credentials import Client
from runner_service.domain.principals import Role
from runner_service.ports.clock import Clock
from runner_service.ports.store import ApiKeyStore, ClientStore, RefreshTokenStore, WorkerCredentialStore
from runner_service.rpc.access import Form, Gatekeeper, is_local, read_rules
from runner_service.rpc.forms import KubeAgentsForm, RustCiForm, SentinelForm, TestflingerForm
from runner_service.secret_files import secret
from runner_service.services.auth import (
    ApiKey,
    ApiKeys,
    Auth,
    Clients,
    Logins,
    Passwords,
    Purpose,
    RefreshTokens,
    Tokens,
    User,
)
from runner_service.services.sealing import Sealer

SENTINEL_ISSUER = "sentinelstacks-api"
ACCESS_SUBJECT = "access_token"
_DAY = 86_400
_HOUR = 3_600


class Stores(Protocol):
    """The parts of a store that credentials lie in."""

    @property
    def worker_credentials(self) -> WorkerCredentialStore: ...
    @property
    def api_keys(self) -> ApiKeyStore: ...
    @property
    def clients(self) -> ClientStore: ...
    @property
    def refresh_tokens(self) -> RefreshTokenStore: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What knows callers by what they show."""

    auth: Auth
    api_keys: ApiKeys
    logins: Logins
    clients: Clients
    refresh_tokens: RefreshTokens
    forms: Mapping[str, Form]
    """By proto package."""

    def gatekeeper(self, settings: Settings, services: Iterable[str]) -> Gatekeeper:
        """What decides on each call of the named services."""
        return Gatekeeper(
            auth=self.auth,
            rules=read_rules(services),
            require_auth=settings.security.require_auth,
            insecure=settings.security.insecure,
            forms=self.forms,
            origins=frozenset(settings.server.cors_origins) - {"*"},
        )


async def open_access(settings: Settings, *, store: Stores, clock: Clock, secrets: Path, sealer: Sealer) -> Access:
    """Hashes what the settings hold in plain, makes the keys that they do not give, and stores their clients.

    Raises:
        ConfigError: Two APIs would sign their tokens with one key.
    """
    _refuse_shared_secrets(settings)
    passwords = Passwords()
    auth = Auth(
        keys=keys_of(settings.security.api_keys),
        workers=store.worker_credentials,
        issued=store.api_keys,
        clock=clock,
        worker_life_seconds=settings.security.worker_credential_hours * _HOUR,
    )

    sentinel, lab, rustci = settings.sentinel, settings.testflinger, settings.rustci
    logins = await Logins.open(
        [User(username=user.username, password=user.password) for user in sentinel.users],
        passwords=passwords,
        tokens=Tokens(
            Purpose(
                life_seconds=round(sentinel.token_hours * _HOUR),
                issuer=SENTINEL_ISSUER,
                required=("exp", "iat", "iss", "username"),
            ),
            key=sentinel.token_auth_secret or secret(secrets, "sentinel-login"),
            clock=clock,
        ),
    )
    refresh_tokens = RefreshTokens(
        store=store.refresh_tokens,
        clock=clock,
        life_seconds=lab.refresh_days * _DAY,
        idle_seconds=lab.refresh_idle_days * _DAY,
    )
    clients = Clients(
        store=store.clients,
        passwords=passwords,
        tokens=Tokens(
            Purpose(life_seconds=lab.token_seconds, subject=ACCESS_SUBJECT, required=("exp", "iat", "sub")),
            key=lab.token_secret or secret(secrets, "testflinger-access"),
            clock=clock,
        ),
        refresh_tokens=refresh_tokens,
    )
    await clients.seed(_client_of(client) for client in lab.clients)
    await refresh_tokens.load()
    foreign = None
    if rustci.jwt_secret:
        foreign = Tokens(Purpose(life_seconds=_HOUR, required=("exp",)), key=rustci.jwt_secret, clock=clock)
    return Access(
        auth=auth,
        api_keys=ApiKeys(store=store.api_keys, auth=auth, clock=clock, sealer=sealer),
        logins=logins,
        clients=clients,
        refresh_tokens=refresh_tokens,
        forms={
            "runner.dialects.rustci.v1": RustCiForm(
                auth=auth, logins=logins, tokens=foreign, require_auth=rustci.require_auth
            ),
            "runner.dialects.sentinelstacks.v1": SentinelForm(
                auth=auth, logins=logins, require_auth=sentinel.require_auth
            ),
            "runner.dialects.testflinger.v1": TestflingerForm(auth=auth, clients=clients),
            "runner.dialects.kubeagents.v1": KubeAgentsForm(auth=auth, keys=keys_of(settings.kubeagents.api_keys)),
        },
    )


def on_loopback(settings: Settings) -> bool:
    """Tells whether nobody but this machine can reach any listener."""
    listeners = [*settings.server.http_addresses, settings.server.grpc]
    return all(is_local(f"ipv4:{address}", None) for address in listeners)


def keys_of(keys: Iterable[Key]) -> list[ApiKey]:
    """The keys of a setting; one without a name is known by its place."""
    return [
        ApiKey.of(key.key, name=key.name or f"key-{number}", role=Role[key.role.upper()])
        for number, key in enumerate(keys, start=1)
    ]


def _client_of(client: LabClient) -> Client:
    return Client(
        client_id=client.client_id,
        secret_hash=client.secret,
        role=client.role,
        max_priority=client.max_priority,
        allowed_queues=client.allowed_queues,
        max_reservation_time=client.max_reservation_time,
        email=client.email,
    )


def _refuse_shared_secrets(settings: Settings) -> None:
    given = [settings.sentinel.token_auth_secret, settings.testflinger.token_secret, settings.rustci.jwt_secret]
    said = [each for each in given if each]
    if len(set(said)) < len(said):
        raise ConfigError(
            "sentinel.token_auth_secret, testflinger.token_secret and rustci.jwt_secret must differ: "
            "a token of one API would be one of another"
        )
