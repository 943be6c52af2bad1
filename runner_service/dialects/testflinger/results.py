"""Testflinger's result endpoints, in the forms of both eras: all of them read and write one store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from google.api import httpbody_pb2
from marshmallow import ValidationError

from runner.dialects.testflinger.v1 import result_service_pb2 as pb
from runner.dialects.testflinger.v1 import result_service_pb2_grpc, shared_pb2
from runner_service.dialects.testflinger import schemas, words
from runner_service.dialects.testflinger.callers import AGENT, PEOPLE, Callers, LabCaller
from runner_service.dialects.testflinger.errors import BadQuery, BadRequest, Missing
from runner_service.dialects.testflinger.jobs import json_id, text_id
from runner_service.dialects.testflinger.uploads import Archive, send
from runner_service.domain.json_text import members_of, object_of, text_of
from runner_service.domain.queues import PHASES, FileKind, Fragment, OutputKind
from runner_service.ports.clock import Clock
from runner_service.services.queues import LabRecords, Queues

_OK = shared_pb2.Text(text=words.OK)


class TestflingerResultServicer(result_service_pb2_grpc.ResultServiceServicer):
    """Results, artifacts and output."""

    __test__ = False

    def __init__(self, *, queues: Queues, records: LabRecords, callers: Callers, clock: Clock) -> None:
        self._queues = queues
        self._records = records
        self._callers = callers
        self._clock = clock

    async def PostResult(self, request: shared_pb2.JobJsonRequest, context: Any) -> shared_pb2.Text:
        caller = self._callers.of(request.caller).demand(AGENT)
        job_id = json_id(request.job_id)
        text, posted = schemas.check_text(schemas.Result, request.json)
        members = members_of(text)
        for phase in members_of(members.pop("status", "{}")):
            posted[f"{phase}_status"] = posted["status"][phase]
        for name, value in posted.items():
            # Codes may come as text, and are numbers.
            if name.endswith("_status") or name == "exit_code":
                members[name] = str(value)
        await self._queues.post_result(job_id, members, word=posted.get("job_state"), agent=caller.posting_agent)
        return _OK

    async def GetResult(self, request: shared_pb2.JobRequest, context: Any) -> shared_pb2.Json:
        caller = self._callers.of(request.caller)
        job_id = json_id(request.job_id)
        await self._queues.seen(job_id, agent=caller.agent, peer=request.peer)
        members = await self._records.result(job_id)
        return shared_pb2.Json(json=object_of(members).encode() if members else b"")

    async def PostArtifact(self, request: AsyncIterator[shared_pb2.UploadPiece], context: Any) -> shared_pb2.Text:
        archive = Archive(request)
        await archive.begin()
        caller = self._callers.of(archive.caller).demand(AGENT)
        job_id = await self._hold(text_id(archive.job_id), caller)
        await self._records.put_file(job_id, FileKind.ARTIFACT, archive.content(), media_type=archive.media_type)
        await self._queues.renew(job_id, agent=None)
        return _OK

    async def GetArtifact(self, request: shared_pb2.JobRequest, context: Any) -> AsyncIterator[httpbody_pb2.HttpBody]:
        self._callers.of(request.caller).demand(*PEOPLE)
        content = await self._records.open_artifact(text_id(request.job_id))
        async for piece in send(content, context, media_type="application/octet-stream", name="artifact.tar.gz"):
            yield piece

    async def PostOutput(self, request: pb.PostOutputRequest, context: Any) -> shared_pb2.Text:
        return await self._post_text(request, OutputKind.OUTPUT)

    async def GetOutput(self, request: pb.GetOutputRequest, context: Any) -> shared_pb2.Text:
        return await self._get_text(request, OutputKind.OUTPUT)

    async def PostSerialOutput(self, request: pb.PostOutputRequest, context: Any) -> shared_pb2.Text:
        return await self._post_text(request, OutputKind.SERIAL)

    async def GetSerialOutput(self, request: pb.GetOutputRequest, context: Any) -> shared_pb2.Text:
        return await self._get_text(request, OutputKind.SERIAL)

    async def _post_text(self, request: pb.PostOutputRequest, kind: OutputKind) -> shared_pb2.Text:
        caller = self._callers.of(request.caller).demand(AGENT)
        job_id = await self._hold(text_id(request.job_id), caller)
        text = request.text.decode("utf-8", "replace")
        if text:
            phase = words.current_phase(await self._queues.find(job_id))
            at = _stamp(datetime.fromtimestamp(self._clock.now() / 1e6, UTC))
            await self._records.append_text(job_id, kind, text, phase=phase, at=at)
        return _OK

    async def _get_text(self, request: pb.GetOutputRequest, kind: OutputKind) -> shared_pb2.Text:
        caller = self._callers.of().demand(*PEOPLE, AGENT)
        if request.method == "HEAD":
            return shared_pb2.Text()
        # A client that gets itself a new token stays the same reader.
        who = f"{request.peer} {caller.permissions.client_id or request.authorization}"
        reader = hashlib.sha256(who.encode()).hexdigest()
        text = await self._records.unread(text_id(request.job_id), kind, reader=reader)
        return shared_pb2.Text(text=text)

    async def PostLog(self, request: pb.PostLogRequest, context: Any) -> shared_pb2.Text:
        caller = self._callers.of(request.caller).demand(AGENT)
        kind = _kind(request.log_type)
        job_id = await self._hold(_log_id(request.job_id), caller)
        _, posted = schemas.check_text(schemas.LogFragment, request.json)
        fragment = Fragment(
            number=posted["fragment_number"],
            phase=posted["phase"],
            at=_stamp(posted["timestamp"]),
            data=posted["log_data"],
        )
        await self._records.append(job_id, kind, fragment)
        return _OK

    async def GetLog(self, request: pb.GetLogRequest, context: Any) -> shared_pb2.Json:
        self._callers.of().demand(*PEOPLE)
        kind = _kind(request.log_type)
        job_id = _log_id(request.job_id)
        query = _log_query(request.query)
        since = query.get("start_timestamp")
        found = await self._records.fragments(
            job_id,
            kind,
            phase=query.get("phase"),
            start=query.get("start_fragment", 0),
            since=_stamp(since) if since is not None else "",
        )
        phases = [query["phase"]] if "phase" in query else PHASES
        shown = {
            phase: {
                "last_fragment_number": max((one.number for one in found if one.phase == phase), default=-1),
                "log_data": "".join(one.data for one in found if one.phase == phase),
            }
            for phase in phases
        }
        return shared_pb2.Json(json=text_of({kind.value: shown}).encode())

    async def _hold(self, job_id: str, caller: LabCaller) -> str:
        """The id, when the caller may post for it. Raises `NotYourJob`."""
        await self._queues.check_agent(job_id, caller.posting_agent)
        return job_id


def _kind(log_type: str) -> OutputKind:
    try:
        return OutputKind(log_type)
    except ValueError:
        raise Missing() from None


def _log_id(text: str) -> str:
    job_id = words.job_id(text)
    if job_id is None:
        raise BadRequest("Invalid job id\n")
    return job_id


def _stamp(at: datetime) -> str:
    """A time in UTC whose texts sort as the times do."""
    return (at if at.tzinfo is None else at.astimezone(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _log_query(query: str) -> dict[str, Any]:
    values = dict(parse_qsl(query, keep_blank_values=True))
    try:
        return dict(schemas.LogQuery().load(values))
    except ValidationError as error:
        messages: Any = error.messages
        unknown = {name: said for name, said in messages.items() if said == ["Unknown field."]}
        raise BadQuery(unknown or {"detail": {}, "message": messages}) from None
