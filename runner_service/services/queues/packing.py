"""An archive of what a job left, made while it is read: labs know one file for each job, a gzipped tar."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import AsyncIterator, Sequence

from runner_service.domain.artifacts import Artifact
from runner_service.services.artifacts import Artifacts

_GZIP = 31
"""zlib's word for a window of 32 KiB in a gzip wrapper."""


async def pack(artifacts: Artifacts, files: Sequence[Artifact]) -> AsyncIterator[bytes]:
    """Yields a gzipped tar of the files, under their names, in pieces."""
    gzip = zlib.compressobj(wbits=_GZIP)
    for file in files:
        entry = tarfile.TarInfo(file.name)
        entry.size, entry.mtime = file.size, file.created_at // 1_000_000
        yield gzip.compress(entry.tobuf(tarfile.PAX_FORMAT))
        async for piece in artifacts.download(file.artifact_id):
            yield gzip.compress(piece)
        yield gzip.compress(bytes(-file.size % tarfile.BLOCKSIZE))
    yield gzip.compress(bytes(2 * tarfile.BLOCKSIZE)) + gzip.flush()
