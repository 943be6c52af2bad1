"""Testflinger's queue endpoints: translate, call a service, translate."""

from __future__ import annotations

import json
from typing import Any

from google.api import httpbody_pb2

from runner.dialects.testflinger.v1 import queue_service_pb2 as pb
from runner.dialects.testflinger.v1 import queue_service_pb2_grpc, shared_pb2
from runner_service.dialects.testflinger import schemas, words
from runner_service.dialects.testflinger.callers import ADMIN, MANAGER, PEOPLE, Callers
from runner_service.dialects.testflinger.errors import Missing
from runner_service.domain.errors import ClientNotFound
from runner_service.domain.queues import LabAgent, Search
from runner_service.services.auth import Clients
from runner_service.services.queues import LabAgents, LabRecords, Queues

_OK = shared_pb2.Text(text=words.OK)
_NO_QUEUE = "Error: Restricted queue not found."


class TestflingerQueueServicer(queue_service_pb2_grpc.QueueServiceServicer):
    """Queues, and who may push to them."""

    __test__ = False

    def __init__(
        self, *, queues: Queues, records: LabRecords, agents: LabAgents, clients: Clients, callers: Callers
    ) -> None:
        self._queues = queues
        self._records = records
        self._agents = agents
        self._clients = clients
        self._callers = callers

    async def GetWaitTimes(self, request: pb.GetWaitTimesRequest, context: Any) -> shared_pb2.Json:
        self._callers.of().demand(*PEOPLE)
        times = await self._queues.wait_times(tuple(dict.fromkeys(request.queue)))
        return shared_pb2.Json(json=json.dumps(times).encode())

    async def ListQueueAgents(self, request: pb.QueueRequest, context: Any) -> httpbody_pb2.HttpBody:
        caller = self._callers.of().demand(*PEOPLE)
        serving = await self._agents.serving(request.queue)
        if serving or not caller.today:
            body = json.dumps([_listed(agent) for agent in serving])
            return httpbody_pb2.HttpBody(content_type=words.JSON, data=f"{body}\n".encode())
        if not await self._agents.is_known(request.queue):
            raise Missing(f"Queue '{request.queue}' does not exist.")
        return httpbody_pb2.HttpBody()

    async def ListQueueJobs(self, request: pb.QueueRequest, context: Any) -> pb.ListQueueJobsResponse:
        self._callers.of().demand(*PEOPLE)
        found = await self._records.search(Search(queue=request.queue))
        return pb.ListQueueJobsResponse(
            jobs=[
                pb.QueuedJob(
                    created_at=words.time(job.created_at), job_id=job.job_id, job_queue=job.queue, job_state=job.word
                )
                for job in found
            ]
        )

    async def ListRestrictedQueues(
        self, request: pb.ListRestrictedQueuesRequest, context: Any
    ) -> pb.ListRestrictedQueuesResponse:
        self._callers.of().demand(*PEOPLE)
        restricted = await self._agents.restricted()
        queues = [pb.RestrictedQueue(queue=queue, owners=owners) for queue, owners in restricted.items()]
        return pb.ListRestrictedQueuesResponse(queues=queues)

    async def GetRestrictedQueue(self, request: pb.QueueRequest, context: Any) -> pb.RestrictedQueue:
        self._callers.of().demand(*PEOPLE)
        owners = (await self._agents.restricted()).get(request.queue)
        if owners is None:
            raise Missing(_NO_QUEUE)
        return pb.RestrictedQueue(queue=request.queue, owners=owners)

    async def AddQueueOwner(self, request: pb.QueueJsonRequest, context: Any) -> shared_pb2.Text:
        self._callers.of().demand(MANAGER, ADMIN)
        _, posted = schemas.check_text(schemas.Owner, request.json)
        try:
            await self._clients.get(posted["client_id"])
        except ClientNotFound:
            raise Missing("Error: Specified client_id does not exist.") from None
        if not await self._agents.restrict(request.queue, posted["client_id"]):
            raise Missing("Error: No agent is associated with the specified queue.")
        return _OK

    async def RemoveQueueOwner(self, request: pb.QueueJsonRequest, context: Any) -> shared_pb2.Text:
        self._callers.of().demand(MANAGER, ADMIN)
        _, posted = schemas.check_text(schemas.MaybeOwner, request.json)
        if not await self._agents.release(request.queue, posted.get("client_id")):
            raise Missing(_NO_QUEUE)
        return _OK


def _listed(agent: LabAgent) -> dict[str, Any]:
    return {
        "name": agent.name,
        "state": agent.shown_state,
        "queues": list(agent.queues),
        "location": agent.location,
        "provision_type": agent.provision_type,
        "job_id": agent.job_id,
        "comment": agent.comment,
    }
