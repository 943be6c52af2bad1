"""Testflinger: what was sent is read and handed to the adapter, whose rules depend on the request."""

from __future__ import annotations

import contextvars

from runner.gateway.v1 import options_pb2
from runner_service.domain.errors import CredentialsInvalid, CredentialsMissing, CredentialsScheme, TokenRefused
from runner_service.domain.principals import Principal, Role, demand
from runner_service.rpc.access import ANYBODY, Caller, Rule
from runner_service.services.auth import Auth, Clients, Credential, CredentialKind, parse_authorization

current_credential: contextvars.ContextVar[Credential] = contextvars.ContextVar(
    "current_credential",
    default=Credential(kind=CredentialKind.NONE),  # noqa: B039  frozen
)
"""What the caller sent, read but not judged: `Clients.permissions` says what a token allows, or why it is not good."""

_ROLES = {"agent": Role.OPERATOR, "contributor": Role.OPERATOR, "manager": Role.ADMIN, "admin": Role.ADMIN}


class TestflingerForm:
    """The raw JWT, or ``Bearer JWT``, or Basic at the token endpoint (which is PUBLIC).

    On this machine the adapter decides alone. Off it a good token (or a key of the service) is demanded first.
    """

    any_origin = False

    def __init__(self, *, auth: Auth, clients: Clients) -> None:
        self._auth = auth
        self._clients = clients

    async def admit(self, rule: Rule, caller: Caller) -> Principal:
        credential = parse_authorization(caller.authorization)
        current_credential.set(credential)
        if rule.access == options_pb2.ACCESS_PUBLIC:
            return ANYBODY
        if not caller.closed and rule.access != options_pb2.ACCESS_REQUIRED:
            return ANYBODY
        principal = await self._identify(credential)
        demand(principal, rule.role)
        return principal

    async def _identify(self, credential: Credential) -> Principal:
        if credential.kind is CredentialKind.NONE:
            raise CredentialsMissing()
        if credential.kind not in (CredentialKind.BEARER, CredentialKind.RAW):
            raise CredentialsScheme()
        try:
            permissions = self._clients.permissions(credential.token)
        except TokenRefused as refused:
            try:
                return await self._auth.key(credential.token)
            except CredentialsInvalid:
                raise refused from None
        role = _ROLES.get(str(permissions.get("role")), Role.NONE)
        return Principal(name=str(permissions.get("client_id", "")), role=role)
