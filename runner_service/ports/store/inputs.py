"""The input of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner_service.domain.inputs import InputRecord, InputStatus, PlacedInput


class InputStore(Protocol):
    """The input of jobs whose ``spec.stdin`` takes any; see `domain.inputs` for places.

    It belongs to the job: every attempt reads it from its start. What the processes were given is deleted, unless the
    job may have another attempt.
    """

    async def append(
        self, job_id: str, records: Sequence[InputRecord], *, at: int | None, writer: str = ""
    ) -> InputStatus:
        """Keeps as many of ``records`` as there is room for, from the place ``at`` on; None: behind all that is there.
        What is there already is passed over. ``taken`` of the answer says how far it came: data beyond the limit is
        not taken, or in part. With a ``writer``, ``at`` counts what this writer gave, and the records go behind all
        that is there.

        Raises:
            JobNotFound: No such job.
            InputNotTaken: Its standard input takes nothing.
            JobFinished: It is terminal.
            InputEnded: The end was given before, and something new would follow.
            InvalidArgument: ``at`` is beyond the next place of the writer, or of the job.
            InputFull: It is kept for another attempt and has reached its bound.
        """
        ...

    async def status(self, job_id: str, *, writer: str = "") -> InputStatus:
        """Raises `JobNotFound`, `InputNotTaken`."""
        ...

    async def read(self, attempt_id: str, fence: int, *, offset: int, limit: int) -> Sequence[PlacedInput]:
        """Up to ``limit`` records from ``offset`` on, the first cut to begin there; none when nothing has come yet.

        Raises:
            StaleAttempt: Unknown attempt, another fence, or it has ended.
        """
        ...

    async def advance(self, attempt_id: str, fence: int, written: int) -> InputStatus:
        """The processes of an attempt were given everything before ``written``. Never goes back within one attempt.

        Raises:
            StaleAttempt: As `read`.
        """
        ...

    async def discard(self, job_id: str) -> None:
        """Deletes the input of a job that is terminal; of another, nothing."""
        ...
