"""What a call can end in, as one tree.

::

    ClientError
    ├── InvalidArgument       the request can never succeed as it is; `violations` names the fields
    │   └── InvalidTarget     the address of the server is not one; nothing was called
    │       └── InvalidTls    nor can TLS be spoken with the files that were given
    ├── NotFound
    ├── AlreadyExists
    ├── FailedPrecondition    the state of things forbids it now
    ├── ResourceExhausted     no room now; `retry_after` may say when
    ├── Unauthenticated
    ├── PermissionDenied
    ├── DeadlineExceeded
    ├── Unavailable           the server cannot be reached, or not now; retried before it is raised
    └── ServerFault           the server failed, or does not know the call

``str(error)`` is a sentence that says what to do; ``reason`` is a stable word for programs and ``metadata`` its
particulars, both from the server's ``google.rpc.ErrorInfo``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from google.rpc import status_pb2
    from grpc.aio import AioRpcError

_DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class FieldViolation:
    """One field that the server refused."""

    field: str
    description: str


class ClientError(Exception):
    """The call failed."""

    reason: str = "UNKNOWN"
    retryable: ClassVar[bool] = False
    """Whether the same call, made again, can succeed without anybody doing anything."""

    def __init__(
        self,
        message: str | None = None,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: tuple[FieldViolation, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or (self.__doc__ or "").split("\n", 1)[0])
        self.reason = reason or self.reason
        self.metadata = dict(metadata or {})
        self.violations = violations
        self.retry_after = retry_after
        """Seconds after which the server wants to be asked again; ``None`` when it said nothing."""

    @property
    def message(self) -> str:
        return str(self)


class InvalidArgument(ClientError):
    """The request is not valid."""

    reason = "INVALID_ARGUMENT"


class InvalidTarget(InvalidArgument):
    """The address of the server is not valid."""

    reason = "INVALID_TARGET"


class InvalidTls(InvalidTarget):
    """TLS cannot be spoken with these files."""


class NotFound(ClientError):
    """There is no such thing."""

    reason = "NOT_FOUND"


class AlreadyExists(ClientError):
    """It exists already."""

    reason = "ALREADY_EXISTS"


class FailedPrecondition(ClientError):
    """The state of things forbids this now."""

    reason = "FAILED_PRECONDITION"


class ResourceExhausted(ClientError):
    """The server has no room for this now. Try again later."""

    reason = "RESOURCE_EXHAUSTED"


class Unauthenticated(ClientError):
    """The server wants a credential: pass a token."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(ClientError):
    """The credential does not allow this."""

    reason = "PERMISSION_DENIED"


class DeadlineExceeded(ClientError):
    """The server did not answer in time."""

    reason = "DEADLINE_EXCEEDED"


class Unavailable(ClientError):
    """The server cannot be reached."""

    reason = "UNAVAILABLE"
    retryable = True


class ServerFault(ClientError):
    """The server failed."""

    reason = "INTERNAL"


_BY_CODE: dict[str, type[ClientError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "OUT_OF_RANGE": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "ABORTED": FailedPrecondition,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAVAILABLE": Unavailable,
    # Sent for calls in flight when a server stops; a cancel of our own never arrives here.
    "CANCELLED": Unavailable,
}


def from_rpc_error(error: AioRpcError) -> ClientError:
    """Makes the error of the tree from what gRPC raised, with the details that the server attached."""
    kind = _BY_CODE.get(error.code().name, ServerFault)
    message = error.details() or None
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            from google.rpc import status_pb2

            return _from_status(kind, message, status_pb2.Status.FromString(value))
    return kind(message)


def _from_status(kind: type[ClientError], message: str | None, status: status_pb2.Status) -> ClientError:
    from google.rpc import error_details_pb2

    reason: str | None = None
    metadata: dict[str, str] = {}
    violations: list[FieldViolation] = []
    retry_after: float | None = None
    for detail in status.details:
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(request):
            violations += [FieldViolation(item.field, item.description) for item in request.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return kind(
        status.message or message,
        reason=reason,
        metadata=metadata,
        violations=tuple(violations),
        retry_after=retry_after,
    )
