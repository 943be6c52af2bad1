"""The audit: an entry for each call that could change something, and for those that were not let in."""

from __future__ import annotations

from dataclasses import dataclass

from runner_service.domain.jobs import Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One call that could change something, or was not let in."""

    at: Micros
    principal: str
    """Name of the credential; empty for a caller without one."""
    role: str
    peer: str
    """Address of the caller, as gRPC writes it."""
    method: str
    """``/package.Service/Method``."""
    target: str = ""
    """Id of what it was about, where the request or the reply names one."""
    status: str = "OK"
    """OK, or the reason of the refusal."""
    request_id: str = ""
    sequence: int = 0
    """Given by the store."""
