"""Which bucket a call falls into."""

from __future__ import annotations

from collections.abc import Mapping

from runner_service.domain.errors import RunnerError
from runner_service.rpc.access import Caller, Gatekeeper
from runner_service.rpc.rate_limits import CLASSES, By, RateLimits, Standing


class Limiter:
    """Counts calls of limited RPCs: through the gateway before anything of the body is read, on the gRPC port in the
    interceptor."""

    def __init__(self, *, limits: RateLimits, gatekeeper: Gatekeeper) -> None:
        """Raises ``ValueError`` when an RPC names a class that there is not."""
        self._limits = limits
        self._gatekeeper = gatekeeper
        unknown = {rule.rate_class for rule in gatekeeper.rules.values()} - {"", *CLASSES}
        if unknown:
            raise ValueError(f"rate classes that nobody defines: {', '.join(sorted(unknown))}")
        self._classes: Mapping[str, str] = {
            method: rule.rate_class
            for method, rule in gatekeeper.rules.items()
            if rule.rate_class and limits.limits(rule.rate_class)
        }

    def limits(self, method: str) -> bool:
        """Tells whether calls of the method are counted at all."""
        return method in self._classes

    async def hit(self, method: str, caller: Caller, *, resource: str) -> Standing:
        """Counts a call of a limited method. It is counted whether or not it will be let in."""
        name = self._classes[method]
        by = CLASSES[name]
        if by is By.RESOURCE:
            return self._limits.hit(name, resource)
        if by is By.USER and (user := await self._user(method, caller)):
            return self._limits.hit(name, f"user:{user}")
        return self._limits.hit(name, f"address:{address_of(caller.peer)}")

    async def _user(self, method: str, caller: Caller) -> str:
        try:
            return (await self._gatekeeper.admit(method, caller)).name
        except RunnerError:
            return ""


def address_of(peer: str) -> str:
    """The address alone of a peer as gRPC writes it: its port changes with each connection."""
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0] if kind in ("ipv4", "ipv6") else peer
