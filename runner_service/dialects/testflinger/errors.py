"""What Testflinger's API answers that no other does. Status and shape of each reason stand in the proto."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner_service.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TokenInvalid,
    Unauthenticated,
)


class ValidationFailed(InvalidArgument):
    """Validation error"""

    reason = "VALIDATION"

    def __init__(self, place: str, messages: Mapping[str, Any] | Any, message: str | None = None) -> None:
        """``place``: ``json`` or ``query``; ``messages``: by member, nested as they are."""
        super().__init__(message, detail=json.dumps({place: messages}))

    def with_message(self, message: str) -> ValidationFailed:
        """The same in other words."""
        place, messages = next(iter(json.loads(self.metadata["detail"]).items()))
        return ValidationFailed(place, messages, message)


class BadRequest(InvalidArgument):
    """The request cannot be processed"""

    reason = "BAD_REQUEST"


class BadRequestText(InvalidArgument):
    """The request cannot be processed"""

    reason = "BAD_REQUEST_TEXT"


class BadQuery(InvalidArgument):
    """The query cannot be processed"""

    reason = "BAD_QUERY"

    def __init__(self, problem: Mapping[str, Any]) -> None:
        """``problem``: the whole body."""
        super().__init__(problem=json.dumps(problem))


class Unprocessable(FailedPrecondition):
    """The request cannot be processed now"""

    reason = "UNPROCESSABLE"


class UnprocessableText(FailedPrecondition):
    """The request cannot be processed now"""

    reason = "UNPROCESSABLE_TEXT"


class EndedText(FailedPrecondition):
    """The job is already completed or cancelled"""

    reason = "BAD_REQUEST_TEXT"


class Missing(NotFound):
    """Not Found"""

    reason = "MISSING"


class MissingText(NotFound):
    """Not Found"""

    reason = "MISSING_TEXT"


class MissingAgent(NotFound):
    """There is no such agent"""

    reason = "MISSING_EMPTY"


class Nothing(NotFound):
    """There is nothing here"""

    reason = "NOTHING"


class Started(NotFound):
    """Job not found or already started"""

    reason = "GONE_TEXT"


class Unidentified(Unauthenticated):
    """Agent not identified"""

    reason = "UNIDENTIFIED"


class RoleMissing(PermissionDenied):
    """Specified action requires role: {roles}"""

    reason = "ROLE_MISSING"


class Forbidden(PermissionDenied):
    """This is not allowed"""

    reason = "FORBIDDEN"


class InvalidToken(TokenInvalid):
    """Invalid Token"""
