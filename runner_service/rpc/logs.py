"""LogStreamService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from runner.v1 import log_pb2, log_stream_service_pb2_grpc
from runner.v1 import log_stream_service_pb2 as pb
from runner_service.rpc.convert import jobs as convert_jobs
from runner_service.rpc.convert import logs as convert
from runner_service.rpc.convert import outcomes, paging
from runner_service.services.logs import LogBatch, LogEnd, LogReader


class LogStreamServicer(log_stream_service_pb2_grpc.LogStreamServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader

    async def StreamLogs(self, request: pb.StreamLogsRequest, context: Any) -> AsyncIterator[pb.StreamLogsResponse]:
        text = _text(request.encoding)
        async for part in self._reader.read(
            request.job_id,
            cursor=request.last_event_id or request.cursor,
            follow=request.follow,
            streams=convert.streams(request.streams),
        ):
            yield _batch(part, text) if isinstance(part, LogBatch) else _end(part)

    async def ListLogEntries(self, request: pb.ListLogEntriesRequest, context: Any) -> pb.ListLogEntriesResponse:
        records, cursor = await self._reader.page(
            request.job_id,
            cursor=request.page_token,
            limit=paging.size(request.page_size, default=100, most=1000),
            streams=convert.streams(request.streams),
        )
        return pb.ListLogEntriesResponse(
            entries=convert.records(records, _text(request.encoding)), next_page_token=cursor
        )


def _text(encoding: pb.LogEncoding.ValueType) -> convert.TextDecoder | None:
    return convert.TextDecoder() if encoding == pb.LOG_ENCODING_TEXT else None


def _batch(batch: LogBatch, text: convert.TextDecoder | None) -> pb.StreamLogsResponse:
    return pb.StreamLogsResponse(
        cursor=batch.cursor, records=convert.records(batch.records, text), attempt_id=batch.attempt_id
    )


def _end(end: LogEnd) -> pb.StreamLogsResponse:
    return pb.StreamLogsResponse(
        cursor=end.cursor,
        attempt_id=end.job.attempt_id,
        end=log_pb2.LogEnd(
            state=convert_jobs.STATES[end.job.state],
            outcome=outcomes.to_proto(end.job.outcome),
            complete=end.complete,
        ),
    )
