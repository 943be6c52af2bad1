"""The first two floors of the tree: every error is of one of these kinds."""

from __future__ import annotations

from typing import ClassVar


class RunnerError(Exception):
    """The service met an error of its own."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str | None = None, *, retry_after: float | None = None, **metadata: object) -> None:
        self.metadata = {name: str(value) for name, value in metadata.items()}
        self.retry_after = retry_after
        """Seconds after which it makes sense to try again; ``None`` when nothing is known."""
        super().__init__(message or (self.__doc__ or "").split("\n", 1)[0].format(**metadata))

    @property
    def message(self) -> str:
        return str(self)


class InvalidArgument(RunnerError):
    """The field {field} is not valid: {problem}."""

    reason = "INVALID_ARGUMENT"


class NotFound(RunnerError):
    """There is no such thing here."""

    reason = "NOT_FOUND"


class FailedPrecondition(RunnerError):
    """The state of things forbids this now."""

    reason = "FAILED_PRECONDITION"


class AlreadyExists(RunnerError):
    """The request id {request_id} was used before for another request. Use a new one."""

    reason = "REQUEST_ID_REUSED"


class ResourceExhausted(RunnerError):
    """The service has no room for this now. Try again later."""

    reason = "RESOURCE_EXHAUSTED"


class Unauthenticated(RunnerError):
    """The call carries no valid credential."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(RunnerError):
    """This call needs the role {needed}; the credential has the role {role}."""

    reason = "ROLE_INSUFFICIENT"
    by = ""
    """Whose credential it was, for the audit alone."""


class DeadlineExceeded(RunnerError):
    """It took longer than it may."""

    reason = "DEADLINE_EXCEEDED"


class Unavailable(RunnerError):
    """The server is stopping and takes no new work. Try again in a moment."""

    reason = "SERVER_STOPPING"


class StoreUnavailable(Unavailable):
    """The service cannot reach its database now. Try again in a moment."""

    reason = "STORE_UNAVAILABLE"
