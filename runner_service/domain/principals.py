"""Who calls, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runner_service.domain.errors import PermissionDenied


class Role(IntEnum):
    """What a credential may do. The numbers are those of ``runner.gateway.v1.Role``."""

    NONE = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3
    WORKER = 4

    @property
    def word(self) -> str:
        """As settings, tables and messages write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, as far as the credential says."""

    name: str
    role: Role
    runner_id: str = ""
    """For the credential of a worker: its runner."""
    outworn: bytes = b""
    """For one that is to be followed by another now: its digest."""

    def may(self, needed: Role) -> bool:
        """Each role includes those below it; WORKER stands alone, but ADMIN may register workers too."""
        if needed is Role.WORKER:
            return self.role in (Role.WORKER, Role.ADMIN)
        return self.role is not Role.WORKER and self.role >= needed


def demand(principal: Principal, needed: Role) -> None:
    """Raises `PermissionDenied` unless the principal has the role."""
    if not principal.may(needed):
        error = PermissionDenied(needed=needed.word, role=principal.role.word)
        error.by = principal.name
        raise error
