"""QueueService."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from runner.v1 import queue_pb2, queue_service_pb2_grpc
from runner.v1 import queue_service_pb2 as pb
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.json_text import members_of, object_of, parse, text_of
from runner_service.domain.principals import Role
from runner_service.domain.queues import PopRequest, QueueJob
from runner_service.rpc import repeats
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import jobs as convert
from runner_service.rpc.convert import times
from runner_service.rpc.repeats import current_mark
from runner_service.services.queues import (
    AgentIdentity,
    LabAgents,
    LabRecords,
    Permissions,
    QueueInfo,
    Queues,
    list_queues,
    read_definition,
)


class QueueServicer(queue_service_pb2_grpc.QueueServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, *, queues: Queues, records: LabRecords, agents: LabAgents) -> None:
        self._queues = queues
        self._records = records
        self._agents = agents

    async def PushJob(self, request: pb.PushJobRequest, context: Any) -> pb.PushJobResponse:
        members = _members("definition", request.definition) | {"job_queue": text_of(request.queue)}
        job_id = _uuid(request.job_id)
        if request.request_id and not job_id:
            job_id = str(uuid.UUID(repeats.key_of(request.request_id)[:32]))
        wanted = replace(read_definition(object_of(members)), job_id=job_id)
        return pb.PushJobResponse(queue_job=_job(await self._queues.push(wanted, caller=_caller())))

    async def PopJob(self, request: pb.PopJobRequest, context: Any) -> pb.PopJobResponse:
        if not request.queues:
            raise InvalidArgument(field="queues", problem="name at least one")
        wanted = PopRequest(
            queues=tuple(request.queues),
            agent=request.agent,
            lease_seconds=_lease(request),
            key=repeats.key_of(request.request_id) if request.request_id else "",
        )
        popped = await self._queues.pop(wanted)
        if popped is None:
            return pb.PopJobResponse()
        return pb.PopJobResponse(queue_job=_job(await self._queues.with_secrets(popped)))

    async def RenewLease(self, request: pb.RenewLeaseRequest, context: Any) -> pb.RenewLeaseResponse:
        await self._queues.renew(
            request.job_id, agent=request.agent or None, lease_seconds=_lease(request), mark=current_mark.get()
        )
        return pb.RenewLeaseResponse(queue_job=_job(await self._queues.get(request.job_id)))

    async def ReportJob(self, request: pb.ReportJobRequest, context: Any) -> pb.ReportJobResponse:
        members = _members("result", request.result)
        for name, value in members.items():
            if name.endswith("_status") and not isinstance(parse(value), int):
                raise InvalidArgument(field=f"result.{name}", problem="give an integer")
        await self._queues.get(request.job_id)
        agent = None
        if request.agent:
            agent = AgentIdentity(name=request.agent, client_id=current_principal.get().name)
        await self._queues.post_result(
            request.job_id, members, word=request.lab_state or None, agent=agent, mark=current_mark.get()
        )
        return pb.ReportJobResponse(queue_job=_job(await self._queues.get(request.job_id)))

    async def GetQueueJob(self, request: pb.GetQueueJobRequest, context: Any) -> pb.GetQueueJobResponse:
        found = await self._queues.get(request.job_id)
        result = object_of(await self._records.result(request.job_id))
        return pb.GetQueueJobResponse(queue_job=_job(found), result=result.encode())

    async def ListQueues(self, request: pb.ListQueuesRequest, context: Any) -> pb.ListQueuesResponse:
        return pb.ListQueuesResponse(queues=map(_queue, await list_queues(self._queues, self._agents)))

    async def GetWaitTimes(self, request: pb.GetWaitTimesRequest, context: Any) -> pb.GetWaitTimesResponse:
        found = await self._queues.wait_times(tuple(dict.fromkeys(request.queues)))
        return pb.GetWaitTimesResponse(
            queues=[
                pb.GetWaitTimesResponse.WaitTimes(queue=queue, seconds=seconds)
                for queue, seconds in sorted(found.items())
            ]
        )


def _caller() -> Permissions:
    principal = current_principal.get()
    return Permissions(client_id=principal.name, unlimited=principal.role is Role.ADMIN)


def _members(field: str, text: bytes) -> dict[str, str]:
    try:
        parse(text.decode() or "{}")
        return members_of(text.decode() or "{}")
    except (ValueError, RecursionError):
        raise InvalidArgument(field=field, problem="give a JSON object") from None


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text)) if text else ""
    except ValueError:
        raise InvalidArgument(field="job_id", problem="give a UUID") from None


def _lease(request: pb.PopJobRequest | pb.RenewLeaseRequest) -> float | None:
    if not request.HasField("lease"):
        return None
    seconds = times.check_not_negative("lease", request.lease)
    if not 1 <= seconds <= 366 * 86_400:
        raise InvalidArgument(field="lease", problem="give 1 second to 366 days")
    return seconds


def _job(found: QueueJob) -> queue_pb2.QueueJob:
    return queue_pb2.QueueJob(
        job=convert.job(found.job),
        queue=found.queue,
        definition=found.definition.encode(),
        lab_state=found.word,
        agent=found.agent,
        lease_end_time=times.timestamp(found.lease_until),
    )


def _queue(info: QueueInfo) -> queue_pb2.Queue:
    return queue_pb2.Queue(
        name=info.name,
        description=info.description,
        waiting_jobs=info.waiting,
        running_jobs=info.running,
        serving=info.serving,
        restricted=info.owners is not None,
        owners=info.owners or (),
    )
