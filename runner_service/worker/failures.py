"""What a failed call means to a worker: one table from status code and reason, never from text."""

from __future__ import annotations

from enum import Enum, auto

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from runner_service.domain.errors import (
    CredentialExpired,
    LogSealed,
    RunnerDeleted,
    RunnerNotFound,
    StaleAttempt,
    StaleWorker,
)


class Failure(Enum):
    """What to do about a failed call."""

    RETRY = auto()
    """Repeat with back-off and full jitter."""
    BAD_REQUEST = auto()
    """Repeated as it is, it will fail again."""
    REFUSED = auto()
    """The credential is not good here."""
    EXPIRED = auto()
    """The credential was good once: join again as the same runner."""
    UNKNOWN_RUNNER = auto()
    """Register again."""
    DELETED_RUNNER = auto()
    """Somebody wants it gone: stop."""
    STALE_WORKER = auto()
    """A later worker has the identity: stop."""
    STALE_ATTEMPT = auto()
    """End the process tree and forget the attempt."""
    LOG_SEALED = auto()
    """The log takes no more records."""


_BY_REASON = {
    CredentialExpired.reason: Failure.EXPIRED,
    RunnerNotFound.reason: Failure.UNKNOWN_RUNNER,
    RunnerDeleted.reason: Failure.DELETED_RUNNER,
    StaleWorker.reason: Failure.STALE_WORKER,
    StaleAttempt.reason: Failure.STALE_ATTEMPT,
    LogSealed.reason: Failure.LOG_SEALED,
}

_BY_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: Failure.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: Failure.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: Failure.REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Failure.REFUSED,
}
"""Everything else is worth another try: UNAVAILABLE, CANCELLED, DEADLINE_EXCEEDED, ABORTED, INTERNAL, UNKNOWN …"""


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    return _BY_REASON.get(reason_of(error)) or _BY_CODE.get(error.code(), Failure.RETRY)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The stable word of the error (google.rpc.ErrorInfo); empty when the server, or a proxy before it, gave none."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Is(info.DESCRIPTOR):
                    detail.Unpack(info)
                    return str(info.reason)
    return ""
