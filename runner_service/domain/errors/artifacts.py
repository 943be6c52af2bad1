"""Errors of artifacts."""

from __future__ import annotations

from runner_service.domain.errors.kinds import FailedPrecondition, InvalidArgument, NotFound, Unavailable


class ArtifactNotFound(NotFound):
    """There is no artifact with the id {artifact_id}, or its upload has not ended."""

    reason = "ARTIFACT_NOT_FOUND"


class ArtifactCorrupt(FailedPrecondition):
    """The data of {name} has the SHA-256 {actual}, not {announced}: nothing of it was kept. Upload it again."""

    reason = "ARTIFACT_CORRUPT"


class UploadCut(FailedPrecondition):
    """The upload ended before its last message, the one with `end`: what came is kept for who goes on."""

    reason = "UPLOAD_CUT"


class RangeOutside(InvalidArgument):
    """The artifact has {size} bytes, and the range begins behind them."""

    reason = "RANGE_OUTSIDE"


class UploadLate(FailedPrecondition):
    """The upload took longer than a day, and is not kept. Upload it again."""

    reason = "UPLOAD_LATE"


class LogMissing(NotFound):
    """The log of attempt {attempt_id} is not where it is kept: it was deleted meanwhile, or blobs are missing."""

    reason = "LOG_MISSING"


class BlobsUnavailable(Unavailable):
    """The place where files and old logs are kept is away. Nothing is lost: try again in a moment."""

    reason = "BLOBS_UNAVAILABLE"
