"""Where the log of a job goes: its raw bytes to stdout and stderr, or one JSON object a record."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Protocol

from google.protobuf.message import Message

from runner.v1.log_pb2 import LogRecord
from runner.v1.log_stream_service_pb2 import StreamLogsResponse
from runner_client.cli.printable import printable
from runner_client.cli.report import complain

STDOUT, STDERR = 1, 2

_DESCRIPTORS = {LogRecord.STREAM_STDOUT: STDOUT, LogRecord.STREAM_PTY: STDOUT, LogRecord.STREAM_STDERR: STDERR}
"""Sentences of the service itself are not output of the job: only JSON shows them."""
_TOO_MUCH = "it was more than is kept of one job, or than there was room for on its runner"


class Output(Protocol):
    """Takes the messages of a followed log in order. Raises ``BrokenPipeError`` when its reader has gone."""

    async def write(self, message: StreamLogsResponse) -> None: ...


class RawOutput:
    """Bytes as they were written, nothing added, nothing held back."""

    async def write(self, message: StreamLogsResponse) -> None:
        for descriptor, data in _chunks(message.records):
            await write_all(descriptor, data)


class JsonOutput:
    """One line a record; behind the last record of a message its `cursor`; at last a line with `end`."""

    async def write(self, message: StreamLogsResponse) -> None:
        lines = [as_json(record) | {"attemptId": message.attempt_id} for record in message.records]
        if lines:
            lines[-1]["cursor"] = message.cursor
        if message.HasField("end"):
            lines.append({"end": as_json(message.end)})
        await write_all(STDOUT, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _chunks(records: Iterable[LogRecord]) -> Iterator[tuple[int, bytes]]:
    """Yields where to write what, neighbours joined."""
    for stream, neighbours in groupby(records, key=lambda record: record.stream):
        if stream == LogRecord.STREAM_GAP:
            lost = sum(record.gap_bytes for record in neighbours)
            complain(f"{lost} bytes of output are missing here: {_TOO_MUCH}")
        elif (descriptor := _DESCRIPTORS.get(stream)) is not None:
            yield descriptor, b"".join(record.data for record in neighbours)


async def write_all(descriptor: int, data: bytes) -> None:
    """Writes without blocking the loop, so that Ctrl-C is heard while a pipe is full."""
    if data:
        await asyncio.get_running_loop().run_in_executor(None, _write_all, descriptor, data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def as_json(message: Message) -> dict[str, Any]:
    """Returns a message as the REST API shows it (ProtoJSON)."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message)


def print_json(value: object) -> None:
    """Prints one JSON document on a line of its own."""
    _write_all(STDOUT, (json.dumps(value, ensure_ascii=False) + "\n").encode())


def print_line(text: str) -> None:
    """Prints one line at once, with nothing in it that a terminal would obey."""
    _write_all(STDOUT, (printable(text) + "\n").encode(errors="replace"))
