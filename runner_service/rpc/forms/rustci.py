"""RustCI: a JWT or an API key, and by default neither is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.gateway.v1 import options_pb2
from runner_service.domain.errors import CredentialsMissing, CredentialsScheme, TokenRefused, Unauthenticated
from runner_service.domain.principals import Principal, Role, demand
from runner_service.rpc.access import ANYBODY, Caller, Rule
from runner_service.services.auth import Auth, CredentialKind, Logins, Tokens, parse_authorization

_ROLES = {"admin": Role.ADMIN, "user": Role.OPERATOR, "viewer": Role.VIEWER}


class RustCiForm:
    """``Authorization: Bearer JWT`` or ``X-API-Key: KEY``; both sent: Bearer first, either is enough.

    While ``require_auth`` is off, whatever is sent on this machine is ignored: the documented SDK sends a placeholder.
    An RPC with no role (the feed of status changes) is never asked for one by it.
    """

    any_origin = False

    def __init__(self, *, auth: Auth, logins: Logins, tokens: Tokens | None, require_auth: bool) -> None:
        """``tokens``: those signed with the secret of the settings, if there is one."""
        self._auth = auth
        self._logins = logins
        self._tokens = tokens
        self._require_auth = require_auth

    async def admit(self, rule: Rule, caller: Caller) -> Principal:
        asked = self._require_auth and rule.role is not Role.NONE
        if rule.access == options_pb2.ACCESS_PUBLIC:
            return ANYBODY
        if not asked and not caller.closed and rule.access != options_pb2.ACCESS_REQUIRED:
            return ANYBODY
        principal = await self._identify(caller)
        demand(principal, rule.role)
        return principal

    async def _identify(self, caller: Caller) -> Principal:
        refused: Unauthenticated = CredentialsMissing()
        if caller.authorization is not None:
            credential = parse_authorization(caller.authorization)
            try:
                if credential.kind is not CredentialKind.BEARER:
                    raise CredentialsScheme()
                return await self._bearer(credential.token)
            except Unauthenticated as error:
                refused = error
        if caller.api_key:
            return await self._auth.key(caller.api_key)
        raise refused

    async def _bearer(self, token: str) -> Principal:
        if token.count(".") != 2:
            return await self._auth.key(token)
        refused: TokenRefused | None = None
        if self._tokens is not None:
            try:
                return _principal(self._tokens.read(token))
            except TokenRefused as error:
                refused = error
        # Without users anybody on this machine may have such a token, under any name.
        if self._logins.has_users:
            return self._logins.principal(token)
        if refused is not None:
            raise refused
        return await self._auth.key(token)


def _principal(claims: Mapping[str, Any]) -> Principal:
    """``sub`` names the user; ``role`` (or one of ``roles``) is admin, user or viewer, user when not said."""
    said = claims.get("roles") if isinstance(claims.get("roles"), list) else [claims.get("role", "user")]
    assert isinstance(said, list)
    role = max((_ROLES.get(str(word), Role.NONE) for word in said), default=Role.NONE)
    return Principal(name=str(claims.get("sub", "")), role=role)
