"""One table from domain errors to gRPC codes, and the status that carries everything a caller needs."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from runner_service.domain.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RunnerError,
    Unauthenticated,
    Unavailable,
)

DOMAIN = "runner.v1"
_RETRY_SECONDS = 1.0
"""What a caller is told to wait when there is no room and nothing better is known."""

_CODES: tuple[tuple[type[RunnerError], grpc.StatusCode], ...] = (
    (InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)


def code_of(error: RunnerError) -> grpc.StatusCode:
    """INTERNAL for what the table does not name."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return grpc.StatusCode.INTERNAL


def status_of(error: RunnerError) -> grpc.Status:
    """The error as a servicer's context takes it."""
    rich: grpc.Status = rpc_status.to_status(details_of(error))
    return rich


def details_of(error: RunnerError) -> status_pb2.Status:
    """The rich status: message, ErrorInfo with reason and metadata, the field at fault, when to try again."""
    code = code_of(error)
    details = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
    ]
    packed = [_pack(detail) for detail in details]
    if isinstance(error, InvalidArgument) and "field" in error.metadata:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.metadata["field"], description=error.metadata.get("problem", error.message)
        )
        packed.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
    retry_after = error.retry_after
    if retry_after is None and code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
        retry_after = _RETRY_SECONDS
    if retry_after is not None:
        delay = Duration(seconds=int(retry_after), nanos=int(retry_after % 1 * 1_000_000_000))
        packed.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    number: int = code.value[0]
    return status_pb2.Status(code=number, message=error.message, details=packed)


def _pack(message: object) -> Any:
    packed = Any()
    packed.Pack(message)  # type: ignore[arg-type]
    return packed
