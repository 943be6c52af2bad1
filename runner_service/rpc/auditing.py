"""Which calls the audit notes, and what they were about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from runner_service.domain.principals import Principal
from runner_service.rpc.access import ANYBODY, Caller, Rule
from runner_service.services.audit import Audit

_OWN = frozenset({"request_id", "session_id", "boot_id"})
"""Ids that name the call or its sender, not what it is about."""


class Auditor:
    """Notes calls of RPCs that can change something."""

    def __init__(self, *, audit: Audit, rules: Mapping[str, Rule]) -> None:
        self._audit = audit
        self._methods = frozenset(method for method, rule in rules.items() if rule.audited)
        self._paths: dict[Descriptor, tuple[str, ...]] = {}

    def audits(self, method: str) -> bool:
        return method in self._methods

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
