"""Artifacts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from runner.v1 import artifact_pb2
from runner_service.domain.artifacts import Artifact, ArtifactState
from runner_service.domain.errors import UploadCut
from runner_service.rpc.convert import times

_STATES = {state: artifact_pb2.Artifact.State.Value(f"STATE_{state.name}") for state in ArtifactState}


class _HasData(Protocol):
    data: bytes
    end: bool


Piece = TypeVar("Piece", bound=_HasData)


def artifact(value: Artifact) -> artifact_pb2.Artifact:
    return artifact_pb2.Artifact(
        artifact_id=value.artifact_id,
        name=value.name,
        job_id=value.job_id,
        attempt_id=value.attempt_id,
        media_type=value.media_type,
        state=_STATES[value.state],
        size=value.size,
        sha256=value.sha256,
        create_time=times.timestamp(value.created_at),
        created_by=value.created_by,
    )


async def data_of(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    """The data of all messages of an upload. Raises `UploadCut` when none of them is the last: a call that is cancelled
    looks to its servicer, for a moment, as if its requests had ended."""
    yield first.data
    ended = first.end
    async for message in rest:
        yield message.data
        ended = ended or message.end
    if not ended:
        raise UploadCut()
