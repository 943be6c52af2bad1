"""Moves sealed logs out of the database: one object of zstd frames with an index, read again by the same cursor."""

from __future__ import annotations

import asyncio
import json
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence

import zstandard

from runner_service.domain.errors import LogMissing
from runner_service.ports.blobs import BlobNotFound, Blobs
from runner_service.ports.store import LogArchive, LogChunk, LogStore

log = logging.getLogger(__name__)

FRAME_BYTES = 1024 * 1024
"""Of journal in one zstd frame: what a reader unpacks at least."""
ARCHIVE_SECONDS = 10.0
"""Between looks for sealed logs."""
AT_ONCE = 20
_LEVEL = 3


class Archiver:
    """Archives sealed logs in the background."""

    def __init__(self, *, store: LogStore, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs

    async def run(self) -> None:
        """Archives for ever; what fails is logged and tried again."""
        while True:
            await asyncio.sleep(ARCHIVE_SECONDS)
            try:
                await self.archive_some()
            except Exception:
                log.exception("cannot archive logs, trying again", extra={"action": "archive_failed"})

    async def archive_some(self) -> int:
        """Archives up to AT_ONCE logs and returns how many."""
        attempts = await self._store.archivable(limit=AT_ONCE)
        for attempt_id in attempts:
            index: list[tuple[int, int, int, int]] = []
            key = f"logs/{attempt_id[-2:]}/{attempt_id}"
            await self._blobs.put(key, self._frames(attempt_id, index))
            # The rows go only after the object is durable.
            await self._store.archive(attempt_id, LogArchive(blob_key=key, index=json.dumps(index).encode()))
        return len(attempts)

    async def _frames(self, attempt_id: str, index: list[tuple[int, int, int, int]]) -> AsyncIterator[bytes]:
        sequence = offset = 0
        while chunks := await self._store.read(attempt_id, sequence=sequence, max_bytes=FRAME_BYTES):
            journal = b"".join(chunk.journal for chunk in chunks)
            records = sum(chunk.records for chunk in chunks)
            frame = await asyncio.to_thread(compressed, journal)
            index.append((chunks[0].first_sequence, records, offset, len(frame)))
            yield frame
            offset += len(frame)
            sequence = chunks[-1].first_sequence + chunks[-1].records


def compressed(journal: bytes) -> bytes:
    """One frame."""
    # A copy of its true size. The compressor's own stands in room for the worst case, which nobody else gets as long as
    # it stays: a gathered batch of small frames held a gigabyte.
    return bytes(memoryview(zstandard.ZstdCompressor(level=_LEVEL).compress(journal)))


class ArchiveReader:
    """Reads archived logs as if they still were rows."""

    def __init__(self, *, store: LogStore, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs

    async def read(self, attempt_id: str, sequence: int) -> Sequence[LogChunk]:
        """Returns the frame that holds ``sequence`` as one chunk; empty when the log is not archived or ends before."""
        archive = await self._store.archived(attempt_id)
        if archive is None:
            return ()
        index: list[tuple[int, int, int, int]] = json.loads(archive.index)
        at = bisect_right(index, sequence, key=lambda entry: entry[0]) - 1
        if at < 0:
            return ()
        first, records, offset, size = index[at]
        if sequence >= first + records:
            return ()
        try:
            frame = await self._blobs.read(archive.blob_key, offset, size)
        except BlobNotFound:
            raise LogMissing(attempt_id=attempt_id) from None
        journal = await asyncio.to_thread(zstandard.ZstdDecompressor().decompress, frame)
        return (LogChunk(first_sequence=first, records=records, journal=journal),)
