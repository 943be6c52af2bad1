"""SentinelStacks: a login token, demanded by the registry; a bad one is refused everywhere."""

from __future__ import annotations

from runner.gateway.v1 import options_pb2
from runner_service.domain.errors import CredentialsInvalid, CredentialsMissing, CredentialsScheme, TokenRefused
from runner_service.domain.principals import Principal, demand
from runner_service.rpc.access import ANYBODY, Caller, Rule
from runner_service.services.auth import Auth, CredentialKind, Logins, parse_authorization


class SentinelForm:
    """``Authorization: Bearer TOKEN``, in WebSockets also ``?token=`` (the gateway hands it on in the same place).

    REQUIRED RPCs (the registry) demand it always; OPTIONAL ones when ``require_auth`` is on; OPEN ones (WebSockets, as
    the document's clients open them) and login never, on this machine. Keys of the service are taken in the place of a
    token.
    """

    any_origin = False

    def __init__(self, *, auth: Auth, logins: Logins, require_auth: bool) -> None:
        self._auth = auth
        self._logins = logins
        self._require_auth = require_auth

    async def admit(self, rule: Rule, caller: Caller) -> Principal:
        if rule.access == options_pb2.ACCESS_PUBLIC:
            return ANYBODY  # a token that ended must not keep its owner from logging in again
        if caller.authorization is None:
            asked = self._require_auth and rule.access == options_pb2.ACCESS_OPTIONAL
            if rule.access == options_pb2.ACCESS_REQUIRED or asked or caller.closed:
                raise CredentialsMissing()
            return ANYBODY
        principal = await self._identify(caller.authorization)
        demand(principal, rule.role)
        return principal

    async def _identify(self, authorization: str) -> Principal:
        credential = parse_authorization(authorization)
        if credential.kind is not CredentialKind.BEARER or not credential.token:
            raise CredentialsScheme()
        try:
            return self._logins.principal(credential.token)
        except TokenRefused as refused:
            try:
                return await self._auth.key(credential.token)
            except CredentialsInvalid:
                raise refused from None
