"""What a failed call means, by its reason first, then by its code."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from runner_service.worker.failures import Failure, failure_of, reason_of

Code = grpc.StatusCode


def error(code: grpc.StatusCode, reason: str = "") -> grpc.aio.AioRpcError:
    trailing = []
    if reason:
        status = status_pb2.Status(code=code.value[0])
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason))
        trailing.append(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing))


@pytest.mark.parametrize(
    ("code", "reason", "failure"),
    [
        (Code.NOT_FOUND, "RUNNER_NOT_FOUND", Failure.UNKNOWN_RUNNER),
        (Code.NOT_FOUND, "", Failure.RETRY),  # Said by something between: no cause to give up the identity.
        (Code.FAILED_PRECONDITION, "STALE_WORKER", Failure.STALE_WORKER),
        (Code.FAILED_PRECONDITION, "STALE_ATTEMPT", Failure.STALE_ATTEMPT),
        (Code.FAILED_PRECONDITION, "STALE_SYNC", Failure.RETRY),
        (Code.FAILED_PRECONDITION, "LOG_SEALED", Failure.LOG_SEALED),
        (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID", Failure.REFUSED),
        (Code.PERMISSION_DENIED, "ROLE_INSUFFICIENT", Failure.REFUSED),
        (Code.INVALID_ARGUMENT, "INVALID_ARGUMENT", Failure.BAD_REQUEST),
        (Code.RESOURCE_EXHAUSTED, "STORAGE_FULL", Failure.RETRY),
        (Code.UNAVAILABLE, "", Failure.RETRY),
        (Code.CANCELLED, "", Failure.RETRY),
        (Code.DEADLINE_EXCEEDED, "", Failure.RETRY),
        (Code.INTERNAL, "", Failure.RETRY),
        (Code.UNKNOWN, "", Failure.RETRY),
        (Code.ABORTED, "", Failure.RETRY),
    ],
)
def test_what_to_do(code: grpc.StatusCode, reason: str, failure: Failure) -> None:
    assert failure_of(error(code, reason)) is failure
    assert reason_of(error(code, reason)) == reason
