"""Job ids as people type them: whole, or so much of an end that it is clear which is meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runner_client.cli.report import CommandLineError

if TYPE_CHECKING:
    from runner_client.client import AsyncClient

MINIMUM = 6
NEWEST = 2_000
"""An abbreviation is looked for among so many of the newest jobs."""

_PART = re.compile(r"[0-9a-f-]+")


async def whole_job_id(client: AsyncClient, text: str) -> str:
    """Returns the id that ``text`` begins or ends; a whole id is returned without asking the server."""
    part = text.lower()
    if len(part) == 36 or not _PART.fullmatch(part):
        return text
    if len(part) < MINIMUM:
        raise CommandLineError(f"{text!r} is too short for a job id", f"give {MINIMUM} characters or more of its end")
    matches = [
        job.job_id
        async for job in client.list_jobs(limit=NEWEST)
        if job.job_id.endswith(part) or job.job_id.startswith(part)
    ]
    match matches:
        case [job_id]:
            return job_id
        case []:
            raise CommandLineError(f"there is no job {text}", "`runner ps --all` lists them")
    raise CommandLineError(
        f"{text} is the start or end of {len(matches)} job ids", "give more of it; ids made together differ at the end"
    )
