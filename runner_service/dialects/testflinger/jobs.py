"""Testflinger's job endpoints: translate, call a service, translate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from google.api import httpbody_pb2

from runner.dialects.testflinger.v1 import job_service_pb2 as pb
from runner.dialects.testflinger.v1 import job_service_pb2_grpc, shared_pb2
from runner_service.dialects.testflinger import schemas, words
from runner_service.dialects.testflinger.callers import ADMIN, AGENT, CONTRIBUTOR, MANAGER, PEOPLE, Callers
from runner_service.dialects.testflinger.errors import (
    BadRequest,
    BadRequestText,
    EndedText,
    Missing,
    Started,
    Unidentified,
    Unprocessable,
    UnprocessableText,
    ValidationFailed,
)
from runner_service.dialects.testflinger.uploads import Archive, send
from runner_service.domain.errors import JobFinished, JobNotFound, PushNeedsCredential, SecretsInaccessible
from runner_service.domain.jobs import JobState
from runner_service.domain.json_text import members_of, object_of, parse
from runner_service.domain.queues import Attachments, PopRequest, Search
from runner_service.services.queues import AgentIdentity, LabRecords, Queues, read_definition, without_secrets
from runner_service.services.webhooks import Webhooks

_OK = shared_pb2.Text(text=words.OK)


def json_id(text: str) -> str:
    """The job's id. Raises `BadRequest`."""
    job_id = words.job_id(text)
    if job_id is None:
        raise BadRequest("Invalid job_id specified")
    return job_id


def text_id(text: str) -> str:
    """The job's id. Raises `BadRequestText`."""
    job_id = words.job_id(text)
    if job_id is None:
        raise BadRequestText("Invalid job id\n")
    return job_id


class TestflingerJobServicer(job_service_pb2_grpc.JobServiceServicer):
    """Submitting, popping, finding and cancelling."""

    __test__ = False

    def __init__(
        self, *, queues: Queues, records: LabRecords, callers: Callers, webhooks: Webhooks, version: str
    ) -> None:
        self._queues = queues
        self._records = records
        self._callers = callers
        self._webhooks = webhooks
        self._version = version

    async def GetVersion(self, request: pb.GetVersionRequest, context: Any) -> shared_pb2.Text:
        return shared_pb2.Text(text=f"Testflinger Server v{self._version}")

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Any) -> pb.SubmitJobResponse:
        caller = self._callers.of().demand(CONTRIBUTOR, MANAGER, ADMIN, AGENT)
        text = _checked_job(await self._given_back(request.json))
        wanted = read_definition(text)
        wanted = replace(wanted, job_id=words.job_id(wanted.job_id) or "")
        try:
            pushed = await self._queues.push(wanted, caller=caller.permissions, give_back=True)
        except PushNeedsCredential as error:
            raise caller.explain(error) from None
        except SecretsInaccessible as error:
            raise Unprocessable(error.message) from None
        return pb.SubmitJobResponse(job_id=pushed.job.job_id)

    async def _given_back(self, body: bytes) -> bytes:
        """The body, without the values of secrets when an agent gives back a job with all that it was given."""
        if b'"secrets"' not in body or b'"job_id"' not in body:
            return body
        text = body.decode()
        try:
            job_id = words.job_id(str(parse(members_of(text).get("job_id", '""'))))
        except ValueError:
            return body
        known = job_id is not None and await self._queues.find(job_id) is not None
        return without_secrets(text).encode() if known else body

    async def PopJob(self, request: pb.PopJobRequest, context: Any) -> shared_pb2.Json:
        caller = self._callers.of(request.agent_name).demand(AGENT)
        if caller.bound and not caller.agent:
            raise Unidentified()
        if not request.queue:
            raise BadRequest("No queue(s) specified in request")
        if caller.agent:
            await self._queues.appear(caller.posting_agent or AgentIdentity(name=caller.agent), request.queue)
        if request.method == "HEAD":
            return shared_pb2.Json()
        popped = await self._queues.pop(PopRequest(queues=tuple(request.queue), agent=caller.agent, peer=request.peer))
        if popped is None:
            return shared_pb2.Json()
        return shared_pb2.Json(json=words.popped(await self._queues.with_secrets(popped)).encode())

    async def GetJob(self, request: shared_pb2.JobRequest, context: Any) -> shared_pb2.Json:
        self._callers.of().demand(*PEOPLE)
        found = await self._queues.find(json_id(request.job_id))
        return shared_pb2.Json(json=words.definition(found).encode() if found is not None else b"")

    async def SearchJobs(self, request: pb.SearchJobsRequest, context: Any) -> pb.SearchJobsResponse:
        self._callers.of().demand(*PEOPLE)
        query: dict[str, Any] = {"tags": list(request.tags), "state": list(request.state)}
        if request.match:
            query["match"] = request.match
        schemas.check(schemas.Search, query, place="query")
        search = Search(
            tags=tuple(dict.fromkeys(request.tags)),
            all_tags=request.match == "all",
            words=words.states(list(request.state)),
        )
        found = await self._records.search(search)
        return pb.SearchJobsResponse(
            jobs=[
                pb.FoundJob(created_at=words.time(job.created_at), job_id=job.job_id, job_state=job.word)
                for job in found
            ]
        )

    async def GetPosition(self, request: shared_pb2.JobRequest, context: Any) -> pb.GetPositionResponse:
        self._callers.of().demand(*PEOPLE)
        found = await self._queues.find(json_id(request.job_id))
        if found is None or found.job.state is not JobState.QUEUED:
            raise Started("Job not found or already started\n")
        return pb.GetPositionResponse(position=await self._queues.position(found.job.job_id))

    async def ActOnJob(self, request: shared_pb2.JobJsonRequest, context: Any) -> shared_pb2.Text:
        caller = self._callers.of().demand(*PEOPLE)
        job_id = text_id(request.job_id)
        _, action = schemas.check_text(schemas.Action, request.json)
        if action["action"].lower() != "cancel":
            raise ValidationFailed("json", {"action": ["Must be one of: cancel."]})
        try:
            await self._queues.cancel(job_id, caller=caller.permissions)
        except JobFinished:
            raise EndedText() from None
        except JobNotFound:
            if self._callers.only_today:
                raise EndedText() from None
            raise Missing("Job not found") from None
        return _OK

    async def PostAttachments(self, request: AsyncIterator[shared_pb2.UploadPiece], context: Any) -> shared_pb2.Text:
        archive = Archive(request)
        await archive.begin()
        self._callers.of(archive.caller).demand(*PEOPLE)
        job_id = text_id(archive.job_id)
        found = await self._queues.find(job_id)
        if found is not None and found.attachments is Attachments.COMPLETE:
            return _OK
        if found is None or found.job.state is not JobState.QUEUED:
            raise UnprocessableText(f"Job {job_id} is not valid\n")
        if found.attachments is Attachments.NONE:
            raise UnprocessableText(f"Job {job_id} not awaiting attachments\n")
        await self._records.attach(found, archive.content())
        await self._queues.attached(job_id)
        return _OK

    async def GetAttachments(
        self, request: shared_pb2.JobRequest, context: Any
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        caller = self._callers.of(request.caller).demand(AGENT)
        job_id = text_id(request.job_id)
        await self._queues.seen(job_id, agent=caller.agent, peer=request.peer)
        found = await self._queues.find(job_id)
        content = await self._records.open_attachments(found) if found is not None else None
        async for piece in send(content, context, media_type="application/gzip", name="attachments.tar.gz"):
            yield piece

    async def PostEvents(self, request: shared_pb2.JobJsonRequest, context: Any) -> httpbody_pb2.HttpBody:
        caller = self._callers.of(request.caller).demand(AGENT)
        job_id = json_id(request.job_id)
        text, events = schemas.check_text(schemas.Events, request.json)
        await self._queues.renew(job_id, agent=caller.agent or None)
        members = {name: value for name, value in members_of(text).items() if name != "job_status_webhook"}
        answer = await self._webhooks.send(events["job_status_webhook"], object_of(members).encode())
        await context.send_initial_metadata((("x-http-status", str(answer.status)),))
        return httpbody_pb2.HttpBody(content_type=words.TEXT, data=answer.body)


def _checked_job(body: bytes) -> str:
    """The text of a definition that is well formed. Raises `ValidationFailed`."""
    try:
        text, _ = schemas.check_text(schemas.Job, body)
    except ValidationFailed as error:
        if "job_queue" in error.metadata["detail"]:
            # Clients of both eras look for their own text in it.
            raise error.with_message("Invalid data or no job_queue specified") from None
        raise
    return text
