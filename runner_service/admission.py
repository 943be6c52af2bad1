"""A part of the composition root: what the gateway asks before it reads a body."""

from __future__ import annotations

from gateway.admission import Admission, Admit
from gateway.errors import Failure
from runner_service.rpc.callers import caller_of
from runner_service.rpc.errors import details_of
from runner_service.rpc.limiter import Limiter


def admission(limiter: Limiter) -> Admit:
    """Rate limits: on every answer of a limited RPC it is said how its bucket stands."""

    async def admit(asked: Admission) -> None:
        if not limiter.limits(asked.rpc):
            return
        resource = next(iter(asked.variables.values()), "")
        standing = await limiter.hit(asked.rpc, caller_of(asked.metadata, asked.peer), resource=resource)
        asked.reply_headers.extend(standing.headers())
        if standing.exceeded:
            raise Failure.from_status(details_of(standing.error()))

    return admit
