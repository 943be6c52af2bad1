"""Who may push what where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from runner_service.domain.errors import PushForbidden, PushNeedsCredential
from runner_service.services.queues.definition import Submission

FREE_RESERVATION_SECONDS = 6 * 3600
"""Nobody needs a permission to reserve a machine for so long."""
CONTRIBUTOR = "contributor"
RANKS = {"agent": 0, CONTRIBUTOR: 0, "manager": 1, "admin": 2}
"""Roles of clients; a lower one cannot touch a higher one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What the client that calls is allowed."""

    client_id: str = ""
    """Empty: nobody said who they are."""
    role: str = CONTRIBUTOR
    max_priority: Mapping[str, int] = field(default_factory=dict)
    allowed_queues: Sequence[str] = ()
    max_reservation_time: Mapping[str, int] = field(default_factory=dict)
    unlimited: bool = False
    """Whoever stands above the lab, such as an administrator of the service."""

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> Self:
        """From the permissions in an access token."""
        return cls(
            client_id=str(claims.get("client_id", "")),
            role=str(claims.get("role", CONTRIBUTOR)),
            max_priority=claims.get("max_priority") or {},
            allowed_queues=claims.get("allowed_queues") or (),
            max_reservation_time=claims.get("max_reservation_time") or {},
        )


def check_push(caller: Permissions, wanted: Submission, *, owners: Sequence[str] | None) -> None:
    """Refuses a job that the caller may not push. ``owners`` of the queue; None: it is open to all.

    Raises:
        PushNeedsCredential: Nobody said who they are; some client may.
        PushForbidden: This one may not.
    """
    if caller.unlimited:
        return
    queue, known = wanted.queue, bool(caller.client_id)
    if owners is not None and caller.client_id not in owners and queue not in caller.allowed_queues:
        if not known:
            raise PushNeedsCredential(what=f"to push to restricted queue: {queue}")
        raise PushForbidden(what=f"to the restricted queue: {queue}")
    if wanted.priority and not known:
        raise PushNeedsCredential(what=f"for setting priority: {wanted.priority}")
    if wanted.priority > _limit(caller.max_priority, queue):
        raise PushForbidden(what=f"to {queue} with priority {wanted.priority}")
    allowed = max(FREE_RESERVATION_SECONDS, _limit(caller.max_reservation_time, queue))
    if wanted.reserve_timeout > allowed:
        if not known:
            raise PushNeedsCredential(what=f"for setting timeout: {wanted.reserve_timeout}")
        raise PushForbidden(what=f"to {queue} with reservation timeout {wanted.reserve_timeout}")


def _limit(limits: Mapping[str, int], queue: str) -> int:
    return max(limits.get("*", 0), limits.get(queue, 0))
