"""Artifacts: files that jobs get and leave."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import Micros

MAX_NAME_BYTES = 1000
MEDIA_TYPE = "application/octet-stream"


class ArtifactState(StrEnum):
    """How far an artifact is."""

    UPLOADING = "UPLOADING"
    READY = "READY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that the service keeps."""

    artifact_id: str
    name: str
    """A relative path."""
    job_id: str = ""
    """The job that left it; empty: a caller uploaded it."""
    attempt_id: str = ""
    media_type: str = MEDIA_TYPE
    state: ArtifactState = ArtifactState.UPLOADING
    size: int = 0
    """Bytes kept."""
    sha256: str = ""
    """In hexadecimal, once it is READY."""
    created_at: Micros = 0
    created_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPart:
    """A run of bytes of an artifact, as a blob."""

    offset: int
    size: int
    blob_key: str


def check_path(path: str, *, field: str) -> str:
    """Returns a relative path, or raises `InvalidArgument`: nothing may lead out of the directory it is meant for."""
    if len(path.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise InvalidArgument(field=field, problem=f"a path has {MAX_NAME_BYTES} bytes at most")
    if not path or path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise InvalidArgument(field=field, problem=f"{path!r} is no path below a directory: no .., no / first or last")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(field=field, problem="it is no valid Unicode text") from None
    return path
