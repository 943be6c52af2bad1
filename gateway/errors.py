"""Failures: everything that can go wrong, in one shape.

Routing, decoding, the servicer, an interceptor and a crash all end as a ``Failure``: a ``google.rpc.Status`` with
the HTTP facts that a status can't carry. ``envelope`` renders it the way the service documents its errors.

The gateway's own failures have the ErrorInfo domain ``gateway`` and one of the reasons of ``Reason``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import grpc.aio
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.codec import Refused

DOMAIN = "gateway"
STATUS_DETAILS = "grpc-status-details-bin"

# The canonical table of google/rpc/code.proto.
HTTP_STATUS: dict[int, int] = {
    code_pb2.OK: 200,
    code_pb2.CANCELLED: 499,
    code_pb2.UNKNOWN: 500,
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.DEADLINE_EXCEEDED: 504,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.ABORTED: 409,
    code_pb2.OUT_OF_RANGE: 400,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.INTERNAL: 500,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DATA_LOSS: 500,
    code_pb2.UNAUTHENTICATED: 401,
}


class Reason(StrEnum):
    """Stable words for what the gateway itself refuses: clients and ``ErrorRule``s match on them."""

    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    """No RPC has this path. 404."""
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    """The path is known, the method is not. 405 with ``Allow``."""
    HEAD_INVALID = "HEAD_INVALID"
    """No Host, or two, or one that is none (400), too many headers (431), another HTTP (505), a coding (501)."""
    PATH_INVALID = "PATH_INVALID"
    """The path holds an escape that is none, or text that is not UTF-8. 400."""
    QUERY_INVALID = "QUERY_INVALID"
    """The query does, or nests names too deeply. 400."""
    PARAMETER_UNKNOWN = "PARAMETER_UNKNOWN"
    """A query parameter that the request does not have. 400."""
    FIELD_INVALID = "FIELD_INVALID"
    """A value that does not fit its field, wherever in the request it stood. 400."""
    FIELD_UNKNOWN = "FIELD_UNKNOWN"
    """A member of the body that the request does not have. 400."""
    FIELD_CONFLICT = "FIELD_CONFLICT"
    """One field, or two members of a oneof, given twice. 400."""
    BODY_MALFORMED = "BODY_MALFORMED"
    """The body is not JSON, has a name twice, or is nested too deeply. 400."""
    BODY_REQUIRED = "BODY_REQUIRED"
    """The body is empty where one is needed. 400."""
    BODY_UNEXPECTED = "BODY_UNEXPECTED"
    """A body where none is bound. 400."""
    PART_MISSING = "PART_MISSING"
    """The form does not have the part that is the content. 400."""
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    """The body is over the cap. 413."""
    MEDIA_TYPE_UNSUPPORTED = "MEDIA_TYPE_UNSUPPORTED"
    """The Content-Type (or Content-Encoding) is not one that the RPC takes. 415."""
    NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
    """No framing of the stream is one that ``Accept`` names. 406."""
    UPGRADE_REQUIRED = "UPGRADE_REQUIRED"
    """The route is served over WebSocket only. 426."""
    DEADLINE_INVALID = "DEADLINE_INVALID"
    """The timeout header is not one. 400."""
    INTERNAL = "INTERNAL"
    """The server failed; its log has the request id and the cause. 500."""


@dataclass(eq=False)
class Failure(grpc.aio.AbortError):
    """One failed call: what a Status says, plus the HTTP facts that no Status has.

    An abort, for a servicer may meet it while it reads what is uploaded: interceptors let it pass as they do others.
    """

    code: int
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    details: list[any_pb2.Any] = field(default_factory=list)
    http_status: int = 0
    """0: the canonical status of the code."""
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status_name(self) -> str:
        """``NOT_FOUND`` for 5; numbers without a name are UNKNOWN."""
        return code_pb2.Code.Name(self.code) if self.code in HTTP_STATUS else "UNKNOWN"

    @classmethod
    def from_status(cls, status: status_pb2.Status) -> Failure:
        """A failure from a Status and the details in it: reason and metadata, and when to try again."""
        failure = cls(status.code, status.message)
        _take(failure, status)
        return failure

    def to_status(self) -> status_pb2.Status:
        """The failure as gRPC carries it."""
        return status_pb2.Status(code=self.code, message=self.message, details=self.details)


def refusal(
    reason: Reason,
    message: str,
    *,
    code: int = code_pb2.INVALID_ARGUMENT,
    http_status: int = 0,
    field_path: str = "",
    headers: Iterable[tuple[str, str]] = (),
    **metadata: str,
) -> Failure:
    """A failure of the gateway's own, with ErrorInfo and, when a field is to blame, BadRequest details."""
    details: list[any_pb2.Any] = []
    if field_path:
        metadata["field"] = field_path
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)
    details.append(_packed(info))
    if field_path:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field_path, description=message)
        details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    return Failure(
        code, message, str(reason), DOMAIN, dict(metadata), details, http_status=http_status, headers=list(headers)
    )


def from_refused(refused: Refused, *, root: str = "") -> Failure:
    """A codec's refusal as a failure. ``root`` is the field that the refused value was for."""
    if root:
        refused.under(root)
    if refused.unknown:
        reason = Reason.FIELD_UNKNOWN
    elif refused.bare and not refused.path:
        reason = Reason.BODY_MALFORMED
    elif refused.bare:
        reason = Reason.FIELD_CONFLICT
    else:
        reason = Reason.FIELD_INVALID
    return refusal(reason, str(refused), field_path=refused.path)


def crash(request_id: str) -> Failure:
    """What a client learns of a crash: where to look it up."""
    failure = refusal(
        Reason.INTERNAL, f"internal error, see request {request_id} in the server's log", code=code_pb2.INTERNAL
    )
    failure.details.append(_packed(error_details_pb2.RequestInfo(request_id=request_id)))
    return failure


def deadline_exceeded() -> Failure:
    """504: the client's own deadline, or the server's cap on it, has passed."""
    return Failure(code_pb2.DEADLINE_EXCEEDED, "the deadline of the request has passed")


def from_rpc(code: grpc.StatusCode, message: str, trailing: Iterable[tuple[str, Any]], *, request_id: str) -> Failure:
    """A failure from what an RPC ended with, richer when its trailers carry a Status.

    UNKNOWN without one is how gRPC servers tell of a crash, in the words of the exception: it becomes ``crash``.
    """
    number: int = code.value[0]
    failure = Failure(number, message)
    for key, value in trailing:
        if key == STATUS_DETAILS and isinstance(value, bytes):
            _enrich(failure, value)
    if failure.code == code_pb2.UNKNOWN and not failure.details:
        return crash(request_id)
    return failure


def _enrich(failure: Failure, serialized: bytes) -> None:
    try:
        status = status_pb2.Status.FromString(serialized)
    except ValueError:  # a peer's broken trailer costs its details, not the error
        return
    _take(failure, status)


def _take(failure: Failure, status: status_pb2.Status) -> None:
    if status.code:
        failure.code = status.code
    failure.message = status.message or failure.message
    failure.details = list(status.details)
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) and not failure.reason:
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            failure.reason, failure.domain = info.reason, info.domain
            failure.metadata = dict(info.metadata)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            delay = retry.retry_delay
            failure.headers.append(("retry-after", str(max(0, delay.seconds + (delay.nanos > 0)))))


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
