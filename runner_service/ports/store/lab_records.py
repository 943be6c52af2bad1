"""What agents post about the jobs of a lab beside their results: output and archives. An id need not be a job's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from runner_service.domain.jobs import Micros
from runner_service.domain.queues import FileKind, Fragment, LabFile, OutputKind


class Stored(NamedTuple):
    """What became of a fragment."""

    new: bool
    """False: it was there already."""
    attempt_id: str
    """The attempt whose log it went to as well; empty: none."""


class LabRecordStore(Protocol):
    """Output, archives, and the retention of all that is kept of an id."""

    async def append(self, job_id: str, kind: OutputKind, fragment: Fragment, *, limit_bytes: int) -> Stored:
        """Stores a fragment, unless one of the same phase and number is there. A negative number takes the next free
        one. What is new goes to the log of the job's running attempt too, in the same transaction.

        Raises:
            OutputTooLarge: The id has ``limit_bytes`` of this kind already.
        """
        ...

    async def fragments(
        self,
        job_id: str,
        kind: OutputKind,
        *,
        phase: str | None = None,
        start: int = 0,
        since: str = "",
        max_bytes: int,
    ) -> Sequence[Fragment]:
        """In order of their numbers, from ``start`` on, stamped ``since`` or later; about ``max_bytes`` of them, at
        least one if there is any."""
        ...

    async def unread(self, job_id: str, kind: OutputKind, *, reader: str, max_bytes: int) -> Sequence[str]:
        """What ``reader`` was not given yet, in order of arrival, at least one piece if there is any, and notes that it
        was given now."""
        ...

    async def read_up_to(self, job_id: str, kind: OutputKind, *, reader: str) -> int:
        """What `note_read` noted last; 0 before."""
        ...

    async def note_read(self, job_id: str, kind: OutputKind, *, reader: str, up_to: int) -> None:
        """Notes how far a reader has come in output that is kept elsewhere."""
        ...

    async def put_file(self, job_id: str, kind: FileKind, file: LabFile) -> str:
        """Notes an archive in place of the one before; returns that one's blob key, or nothing."""
        ...

    async def file(self, job_id: str, kind: FileKind) -> LabFile | None: ...

    async def expire(self, *, touched_before: Micros, limit: int) -> tuple[int, Sequence[str]]:
        """Deletes everything of up to ``limit`` ids for which nothing was posted since; returns how many, and the keys
        of blobs that nothing names any more."""
        ...
