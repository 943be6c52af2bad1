"""Requests made from what a caller says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from runner.v1.command_service_pb2 import RunCommandRequest


def run_command(
    argv: Sequence[str],
    *,
    stdin: bool,
    terminal: tuple[int, int] | None,
    timeout: float | None,
    request_id: str | None,
    **fields: Any,
) -> RunCommandRequest:
    from runner.v1.command_service_pb2 import RunCommandRequest
    from runner.v1.input_pb2 import TerminalSize
    from runner.v1.job_pb2 import JobSpec

    request = RunCommandRequest(
        argv=argv,
        timeout=None if timeout is None else duration_of(timeout),
        request_id=request_id or new_request_id(),
        **fields,
    )
    if terminal is not None:
        request.stdin = JobSpec.STDIN_PTY
        request.terminal.CopyFrom(TerminalSize(rows=terminal[0], columns=terminal[1]))
    elif stdin:
        request.stdin = JobSpec.STDIN_PIPE
    return request


def duration_of(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def new_request_id() -> str:
    return os.urandom(16).hex()
