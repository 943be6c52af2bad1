"""DispatchService: what workers call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Any

from runner.v1 import dispatch_service_pb2 as pb
from runner.v1 import dispatch_service_pb2_grpc
from runner_service.domain.errors import InvalidArgument, PermissionDenied
from runner_service.domain.logs import LogRecord
from runner_service.rpc.access import current_principal, is_local
from runner_service.rpc.convert import artifacts as convert_artifacts
from runner_service.rpc.convert import dispatch as convert
from runner_service.rpc.convert import inputs as convert_inputs
from runner_service.rpc.convert import logs as convert_logs
from runner_service.services.artifacts import Artifacts, NewUpload
from runner_service.services.dispatch import Dispatch
from runner_service.services.inputs import Inputs
from runner_service.services.logs import LogIngest
from runner_service.services.runners import RunnerCredentials


class DispatchServicer(dispatch_service_pb2_grpc.DispatchServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(
        self, dispatch: Dispatch, logs: LogIngest, inputs: Inputs, artifacts: Artifacts, credentials: RunnerCredentials
    ) -> None:
        self._dispatch = dispatch
        self._logs = logs
        self._inputs = inputs
        self._artifacts = artifacts
        self._credentials = credentials

    async def Sync(self, request: pb.SyncRequest, context: Any) -> pb.SyncResponse:
        _check_own(request.runner_id)
        times = self._dispatch.times
        answer = await self._dispatch.sync(
            convert.beat(request, lease_seconds=times.lease), confidential=is_confidential(context)
        )
        credential = await self._credentials.next_of(current_principal.get())
        return convert.sync_response(answer, times, credential)

    async def ReportAttempts(self, request: pb.ReportAttemptsRequest, context: Any) -> pb.ReportAttemptsResponse:
        _check_own(request.runner_id)
        reports = [convert.report(report, runner_id=request.runner_id) for report in request.reports]
        answer = await self._dispatch.report(reports, convert.along(request), confidential=is_confidential(context))
        return convert.report_response(reports, answer, self._dispatch.times)

    async def AppendLogs(
        self, requests: AsyncIterator[pb.AppendLogsRequest], context: Any
    ) -> AsyncIterator[pb.AppendLogsResponse]:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        _check_own(first.runner_id)
        batches = _batches(first, requests)
        async for status in self._logs.append_all(first.attempt_id, first.fence, batches, runner_id=first.runner_id):
            yield pb.AppendLogsResponse(
                next_sequence=status.next_sequence, followed=self._logs.followed(first.attempt_id)
            )

    async def AppendLogsOnce(self, request: pb.AppendLogsOnceRequest, context: Any) -> pb.AppendLogsOnceResponse:
        _check_own(request.runner_id)
        records = convert_logs.records_from(request.records)
        status = await self._logs.append(request.attempt_id, request.fence, records, runner_id=request.runner_id)
        return pb.AppendLogsOnceResponse(next_sequence=status.next_sequence)

    async def StreamInputs(
        self, requests: AsyncIterator[pb.StreamInputsRequest], context: Any
    ) -> AsyncIterator[pb.StreamInputsResponse]:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        _check_own(first.runner_id)
        written = _written(first, requests)
        async for records in self._inputs.feed(first.runner_id, first.attempt_id, first.fence, first.offset, written):
            yield pb.StreamInputsResponse(
                offset=records[0].offset, records=[convert_inputs.record(one.record) for one in records]
            )

    async def FetchInput(self, request: pb.FetchInputRequest, context: Any) -> AsyncIterator[pb.FetchInputResponse]:
        _check_own(request.runner_id)
        pieces = self._artifacts.fetch_input(
            request.runner_id, request.attempt_id, request.fence, request.artifact_id, request.offset
        )
        async for artifact, data in pieces:
            yield pb.FetchInputResponse(data=data, size=artifact.size, sha256=artifact.sha256)

    async def UploadOutput(
        self, requests: AsyncIterator[pb.UploadOutputRequest], context: Any
    ) -> pb.UploadOutputResponse:
        first = await anext(aiter(requests), pb.UploadOutputRequest())
        _check_own(first.runner_id)
        # One file of one attempt is one upload, however often it is begun.
        upload = NewUpload(
            name=first.name,
            request_id=sha256(f"{first.attempt_id}/{first.name}".encode()).hexdigest(),
            by=current_principal.get().name,
        )
        data = convert_artifacts.data_of(first, requests)
        artifact = await self._artifacts.upload_output(first.runner_id, first.attempt_id, first.fence, upload, data)
        return pb.UploadOutputResponse(sha256=artifact.sha256)

    async def SealLogs(self, request: pb.SealLogsRequest, context: Any) -> pb.SealLogsResponse:
        _check_own(request.runner_id)
        seal = convert_logs.seal(request.seal)
        status = await self._logs.seal(request.attempt_id, request.fence, seal, runner_id=request.runner_id)
        return pb.SealLogsResponse(sealed=status.sealed, next_sequence=status.next_sequence)


def is_confidential(context: Any) -> bool:
    """Tells whether nobody on the way can read the answer: the caller is on this machine, or the call is encrypted."""
    return is_local(context.peer(), None) or any(
        kind in (b"ssl", b"tls") for kind in context.auth_context().get("transport_security_type", ())
    )


async def _batches(
    first: pb.AppendLogsRequest, rest: AsyncIterator[pb.AppendLogsRequest]
) -> AsyncIterator[Sequence[LogRecord]]:
    yield convert_logs.records_from(first.records)
    async for request in rest:
        yield convert_logs.records_from(request.records)


async def _written(first: pb.StreamInputsRequest, rest: AsyncIterator[pb.StreamInputsRequest]) -> AsyncIterator[int]:
    yield first.written_offset
    async for request in rest:
        yield request.written_offset


def _check_own(runner_id: str) -> None:
    """A worker speaks for its own runner alone."""
    if not runner_id:
        raise InvalidArgument(field="runner_id", problem="name the runner")
    if current_principal.get().runner_id != runner_id:
        raise PermissionDenied("The credential is that of another runner.", needed="worker", role="worker")
