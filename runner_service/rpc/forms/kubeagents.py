"""KubeAgents: no credential, unless the settings hold keys."""

from __future__ import annotations

from collections.abc import Sequence

from runner.gateway.v1 import options_pb2
from runner_service.domain.errors import CredentialsInvalid, CredentialsMissing
from runner_service.domain.principals import Principal, demand
from runner_service.rpc.access import ANYBODY, Caller, Rule
from runner_service.services.auth import ApiKey, Auth, CredentialKind, parse_authorization


class KubeAgentsForm:
    """``Authorization: Bearer KEY``. Without keys of its own, what is sent on this machine is ignored."""

    any_origin = True
    """CORS is open by document, and a status report is all that a page could send."""

    def __init__(self, *, auth: Auth, keys: Sequence[ApiKey]) -> None:
        self._auth = auth
        self._keys = tuple(keys)

    async def admit(self, rule: Rule, caller: Caller) -> Principal:
        if rule.access == options_pb2.ACCESS_PUBLIC or (not self._keys and not caller.closed):
            return ANYBODY
        credential = parse_authorization(caller.authorization)
        if credential.kind is CredentialKind.NONE:
            raise CredentialsMissing()
        if credential.kind is not CredentialKind.BEARER:
            raise CredentialsInvalid()
        principal = ApiKey.find(self._keys, credential.token) or await self._auth.key(credential.token)
        demand(principal, rule.role)
        return principal
