"""Requests made from what a caller says."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from runner.v1.command_service_pb2 import RunCommandRequest
    from runner.v1.job_pb2 import Container, JobInput, Limits


class CommandOptions(TypedDict, total=False):
    """What may be said of a command beside its arguments; what is left out is the server's default."""

    environment: Mapping[str, str]
    working_directory: str
    timeout: float | None
    """Seconds."""
    queue_timeout: float | None
    """Seconds it may wait for a runner; default: for ever."""
    priority: int
    tags: Mapping[str, str]
    required_labels: Mapping[str, str]
    secrets: Mapping[str, str]
    inputs: Iterable[JobInput]
    outputs: Iterable[str]
    limits: Limits | None
    container: Container | None
    """What it runs in; in one with an image and no ``argv`` the image's own command."""
    request_id: str | None
    """Default: a new one, so that a call that is repeated makes one command."""


def run_command(
    argv: Sequence[str],
    *,
    stdin: bool,
    terminal: tuple[int, int] | None,
    wait: float = 0.0,
    **options: Unpack[CommandOptions],
) -> RunCommandRequest:
    from runner.v1.command_service_pb2 import RunCommandRequest
    from runner.v1.input_pb2 import TerminalSize
    from runner.v1.job_pb2 import JobSpec

    timeout, queue_timeout = options.get("timeout"), options.get("queue_timeout")
    request = RunCommandRequest(
        argv=argv,
        environment=options.get("environment"),
        working_directory=options.get("working_directory", ""),
        timeout=None if timeout is None else duration_of(timeout),
        queue_timeout=None if queue_timeout is None else duration_of(queue_timeout),
        priority=options.get("priority", 0),
        tags=options.get("tags"),
        required_labels=options.get("required_labels"),
        secrets=options.get("secrets"),
        inputs=options.get("inputs", ()),
        outputs=options.get("outputs", ()),
        limits=options.get("limits"),
        container=options.get("container"),
        request_id=options.get("request_id") or new_request_id(),
        wait=duration_of(wait) if wait else None,
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
