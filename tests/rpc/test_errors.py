"""One table from domain errors to status codes: total, and each status says why."""

from __future__ import annotations

import string
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status.rpc_status import GRPC_DETAILS_METADATA_KEY

from runner_service.domain import jobs  # noqa: F401  Has an error of its own.
from runner_service.domain.errors import InvalidArgument, QueueFull, RunnerError, Unavailable
from runner_service.rpc.errors import DOMAIN, code_of, status_of

FAULTS = {"INTERNAL", "ILLEGAL_MOVE"}
"""Reasons of our own faults: the only ones that are INTERNAL."""


def _tree(kind: type[RunnerError] = RunnerError) -> Iterator[type[RunnerError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


def _make(kind: type[RunnerError]) -> RunnerError:
    message = (kind.__doc__ or "").split("\n", 1)[0]
    return kind(**{name: f"the-{name}" for _, name, _, _ in string.Formatter().parse(message) if name})


def _details(status: grpc.Status) -> status_pb2.Status:
    metadata = dict(status.trailing_metadata or ())
    return status_pb2.Status.FromString(metadata[GRPC_DETAILS_METADATA_KEY])  # type: ignore[arg-type]


# Adapters have errors of their own, which other test modules may have loaded; their tests have them too.
KINDS = sorted(
    (kind for kind in set(_tree()) if kind.__module__.startswith("runner_service.domain")),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_a_message_and_an_error_info(kind: type[RunnerError]) -> None:
    error = _make(kind)
    status = status_of(error)
    assert (status.code is grpc.StatusCode.INTERNAL) is (kind.reason in FAULTS)
    assert code_of(error) is status.code
    assert status.details == error.message
    assert error.message
    assert "{" not in error.message
    rich = _details(status)
    assert (rich.code, rich.message) == (status.code.value[0], error.message)
    info = error_details_pb2.ErrorInfo()
    assert rich.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (kind.reason, DOMAIN, error.metadata)
    assert kind.reason == kind.reason.upper()


def test_reasons_tell_errors_apart() -> None:
    reasons = [kind.reason for kind in KINDS]
    assert len(reasons) == len(set(reasons))


def test_the_field_at_fault_is_named() -> None:
    rich = _details(status_of(InvalidArgument(field="timeout", problem="give a number")))
    request = error_details_pb2.BadRequest()
    assert rich.details[1].Unpack(request)
    assert [(one.field, one.description) for one in request.field_violations] == [("timeout", "give a number")]


@pytest.mark.parametrize(
    ("error", "seconds"), [(QueueFull(limit=3), 1.0), (Unavailable(retry_after=2.5), 2.5), (Unavailable(), 1.0)]
)
def test_what_may_be_tried_again_says_when(error: RunnerError, seconds: float) -> None:
    rich = _details(status_of(error))
    retry = error_details_pb2.RetryInfo()
    assert rich.details[-1].Unpack(retry)
    assert retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 == seconds
