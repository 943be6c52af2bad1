"""Lab queues, as typed calls: :attr:`runner_client.AsyncClient.queues`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from grpc import aio

from runner.v1.queue_service_pb2 import (
    GetQueueJobRequest,
    GetQueueJobResponse,
    ListQueuesRequest,
    PopJobRequest,
    PushJobRequest,
    RenewLeaseRequest,
    ReportJobRequest,
)
from runner.v1.queue_service_pb2_grpc import QueueServiceStub
from runner_client.calls import Caller

if TYPE_CHECKING:
    from runner.v1.queue_pb2 import Queue, QueueJob


class QueueCalls:
    """Lab queues of a server. Made by the client."""

    def __init__(self, channel: aio.Channel, caller: Caller) -> None:
        self._stub = QueueServiceStub(channel)
        self._caller = caller

    async def push(self, queue: str, definition: bytes, *, job_id: str = "") -> QueueJob:
        """Places a job on a queue. ``definition``: a JSON object. With a ``job_id`` of one's own it may be repeated."""
        request = PushJobRequest(queue=queue, definition=definition, job_id=job_id)
        return (await self._caller.unary(self._stub.PushJob, request)).queue_job

    async def pop(
        self, queues: Sequence[str], *, agent: str = "", lease_seconds: float | None = None
    ) -> QueueJob | None:
        """Gets a job of the queues under a lease; None when there is none."""
        request = PopJobRequest(queues=queues, agent=agent, lease=_duration(lease_seconds))
        answer = await self._caller.unary(self._stub.PopJob, request)
        return answer.queue_job if answer.HasField("queue_job") else None

    async def renew(self, job_id: str, *, agent: str = "", lease_seconds: float | None = None) -> QueueJob:
        """A sign of life; returns the job as it stands."""
        request = RenewLeaseRequest(job_id=job_id, agent=agent, lease=_duration(lease_seconds))
        return (await self._caller.unary(self._stub.RenewLease, request)).queue_job

    async def report(self, job_id: str, *, agent: str = "", result: bytes = b"", lab_state: str = "") -> QueueJob:
        """Merges members of the result (a JSON object) and says how the job stands; returns it."""
        request = ReportJobRequest(job_id=job_id, agent=agent, result=result, lab_state=lab_state)
        return (await self._caller.unary(self._stub.ReportJob, request)).queue_job

    async def get(self, job_id: str) -> GetQueueJobResponse:
        """Returns a job with its result. Raises ``NotFound``."""
        answer: GetQueueJobResponse = await self._caller.unary(
            self._stub.GetQueueJob, GetQueueJobRequest(job_id=job_id)
        )
        return answer

    async def list(self) -> list[Queue]:
        """Returns all queues by name."""
        return [*(await self._caller.unary(self._stub.ListQueues, ListQueuesRequest())).queues]


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
