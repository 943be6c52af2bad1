"""The journals of attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runner_service.domain.logs import LogSeal, LogStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """A run of whole frames (`domain.logs.encode`) as stored."""

    first_sequence: int
    records: int
    journal: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogArchive:
    """Where a sealed log went when its rows were deleted."""

    blob_key: str
    index: bytes
    """Opaque to the store: written and read by ``services.logs``."""


class LogStore(Protocol):
    """The journals of attempts."""

    async def append(self, attempt_id: str, fence: int, chunk: LogChunk, *, runner_id: str) -> LogStatus:
        """Appends frames and returns how the log stands then. Records below ``next_sequence`` are dropped as
        duplicates; a chunk that begins above it is not appended at all: the status says where to resume.

        Raises:
            StaleAttempt: Unknown attempt, another fence, another runner's, or the attempt has ended.
            LogSealed: The log is sealed and the chunk brings something new.
        """
        ...

    async def seal(self, attempt_id: str, fence: int, seal: LogSeal, *, runner_id: str) -> LogStatus:
        """Seals the log if all ``seal.records`` are there and the byte counts agree, else leaves it open: the status
        says. Repeated, it changes nothing. Raises `StaleAttempt`."""
        ...

    async def status(self, attempt_id: str) -> LogStatus:
        """Raises `AttemptNotFound`."""
        ...

    async def read(self, attempt_id: str, *, sequence: int, max_bytes: int) -> Sequence[LogChunk]:
        """Chunks from the one that holds ``sequence`` on, at least one if there is any, up to about ``max_bytes`` of
        journal. Empty when nothing is there (yet), or when the log is archived."""
        ...

    async def archivable(self, *, limit: int) -> Sequence[str]:
        """Attempts whose sealed logs still are rows, oldest first, leaving out logs of less than one chunk's size
        (a row is the better place for them)."""
        ...

    async def archive(self, attempt_id: str, archive: LogArchive) -> None:
        """Records the archive and deletes the rows."""
        ...

    async def archived(self, attempt_id: str) -> LogArchive | None:
        """The archive of a log, if its rows are gone."""
        ...
