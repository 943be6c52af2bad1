"""What agents need of the room next door."""

from __future__ import annotations

from typing import Protocol


class Stdin(Protocol):
    """The input of jobs, as `services.inputs.Inputs` takes it."""

    async def append(self, job_id: str, data: bytes, at: int | None = None) -> object:
        """Gives bytes to a job, from the place ``at`` on (what is there already is passed over), else behind all that
        is there. Waits while there is no room. Raises `JobFinished`."""
        ...
