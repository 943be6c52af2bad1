"""From an address to the blobs there."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner_service.blobs.directory import DirectoryBlobs
from runner_service.blobs.s3 import Bucket, BucketUnusable, S3Blobs
from runner_service.domain.errors import BlobsUnavailable
from runner_service.ports.blobs import Blobs

log = logging.getLogger(__name__)


async def open_blobs(bucket: Bucket, own: Path) -> Blobs:
    """Returns the blobs at ``bucket.url``: ``s3://bucket/prefix``, ``file:///directory`` that several servers share, or
    empty for ``own``, a directory of this server alone.

    A bucket that is away is not waited for: what needs no blobs works meanwhile. Raises `BucketUnusable` when the
    address or the credentials cannot be right.
    """
    if not bucket.url:
        return DirectoryBlobs(own)
    parts = urlsplit(bucket.url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return DirectoryBlobs(Path(unquote(parts.path)), shared=True)
    if parts.scheme != "s3":
        raise BucketUnusable(f"blobs.url is s3://bucket/prefix or file:///directory, not {bucket.url!r}")
    blobs = S3Blobs(bucket)
    try:
        await blobs.check()
    except BlobsUnavailable as error:
        log.error("serving without blobs until they are back: %s", error, extra={"action": "blobs_away"})
    return blobs
