"""Which calls the audit notes, and what they were about."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from runner_service.domain.errors import PermissionDenied, RunnerError, Unauthenticated
from runner_service.domain.principals import Principal, Role
from runner_service.rpc.access import ANYBODY, Caller, Rule
from runner_service.rpc.limiter import address_of
from runner_service.services.audit import Audit

REFUSALS_AT_ONCE = 20
REFUSAL_SECONDS = 60.0
"""Refused calls of one address that are noted: so many at once, then one in so long."""
MOST_ADDRESSES = 10_000
_ROLES = {role.word: role for role in Role}
_OWN = frozenset({"request_id", "session_id", "boot_id"})
"""Ids that name the call or its sender, not what it is about."""


class Auditor:
    """Notes calls of RPCs that can change something."""

    def __init__(
        self, *, audit: Audit, rules: Mapping[str, Rule], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._audit = audit
        self._monotonic = monotonic
        self._refusals: dict[str, tuple[float, float]] = {}
        self._methods = frozenset(method for method, rule in rules.items() if rule.audited)
        self._grave = frozenset(method for method in self._methods if rules[method].role is Role.ADMIN)
        self._paths: dict[Descriptor, tuple[str, ...]] = {}

    def audits(self, method: str) -> bool:
        return method in self._methods

    def note_refused(self, method: str, *, caller: Caller, request: Any, error: RunnerError) -> bool:
        """Notes a call that was not let in, of any method. False: its address had too many lately, which are not all
        noted, so that nobody floods the audit."""
        if not isinstance(error, Unauthenticated | PermissionDenied) or not self._bucket(address_of(caller.peer)):
            return False
        principal = ANYBODY
        if isinstance(error, PermissionDenied) and error.by:
            principal = Principal(name=error.by, role=_ROLES.get(error.metadata.get("role", ""), Role.NONE))
        self.note(method, principal=principal, caller=caller, messages=(request,), status=error.reason)
        return True

    def _bucket(self, address: str) -> bool:
        """Takes one of the notes that an address has left."""
        now = self._monotonic()
        left, at = self._refusals.get(address, (float(REFUSALS_AT_ONCE), now))
        left = min(REFUSALS_AT_ONCE, left + (now - at) / REFUSAL_SECONDS)
        if len(self._refusals) >= MOST_ADDRESSES and address not in self._refusals:
            self._refusals.clear()
        self._refusals[address] = (max(0.0, left - 1) if left >= 1 else left, now)
        return left >= 1

    def is_grave(self, method: str) -> bool:
        """Calls of it are answered when their note is durable."""
        return method in self._grave

    async def settle(self) -> None:
        """What was noted is durable when this returns, or it was logged that the store takes nothing."""
        await self._audit.try_flush()

    def note(
        self, method: str, *, principal: Principal, caller: Caller, messages: tuple[Any, ...], status: str
    ) -> None:
        """``messages``: the request and, if it came to that, the reply."""
        named = principal is not ANYBODY
        self._audit.note(
            principal=principal.name if named else "",
            role=principal.role.word if named else "",
            peer=caller.peer,
            method=method,
            target=next((found for message in messages if (found := self._target(message))), ""),
            status=status,
            request_id=caller.request_id,
        )

    def _target(self, message: Any) -> str:
        descriptor = getattr(message, "DESCRIPTOR", None)
        if descriptor is None:
            return ""
        path = self._paths.get(descriptor)
        if path is None:
            path = self._paths[descriptor] = _path_of(descriptor)
        value = message
        for name in path:
            value = getattr(value, name)
        return value if path else ""


def _path_of(descriptor: Descriptor) -> tuple[str, ...]:
    """The first field that is an id, of the message or of a message in it."""
    own = _id_of(descriptor)
    if own:
        return (own,)
    for field in descriptor.fields:
        inner = field.message_type
        if inner is not None and not field.is_repeated and (own := _id_of(inner)):
            return (field.name, own)
    return ()


def _id_of(descriptor: Descriptor) -> str:
    for field in descriptor.fields:
        text = field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
        names = field.name.endswith("_id") and field.name not in _OWN
        if text and (names or field.name == "username"):
            return field.name
    return ""
