"""`runner ps --watch`: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runner_client.cli import jobs_table
from runner_client.cli.jobs_table import HEADS
from runner_client.cli.output import as_json as message_as_json
from runner_client.cli.output import print_json, print_line

if TYPE_CHECKING:
    from runner.v1.job_pb2 import Job
    from runner_client.client import AsyncClient

REDRAW_SECONDS = 1.0
"""How often the times in the table move on; also the most often that jobs are asked for."""


def utc_now() -> datetime:
    return datetime.now(UTC)


async def print_events(client: AsyncClient, *, as_json: bool) -> None:
    """Prints a line for each move of a job from now on."""
    from runner_client.cli.outcomes import state_word

    async for event in client.watch():
        if as_json:
            print_json({"event": message_as_json(event)})
        else:
            print_line(f"{event.job_id}  {event.kind}  {state_word(event.state)}  {event.detail}".rstrip())


async def show_live(client: AsyncClient, jobs: Callable[[], Awaitable[list[Job]]]) -> None:
    """Keeps the table on the screen up to date until Ctrl-C; asks for the jobs again only after one has moved."""
    from rich.live import Live

    from runner_client.cli.table import rich_table

    moved = asyncio.Event()

    async def listen() -> None:
        async for _ in client.watch():
            moved.set()

    found = await jobs()
    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        with Live(screen=True, auto_refresh=False) as live:
            while True:
                live.update(rich_table(HEADS, jobs_table.rows(found, utc_now())), refresh=True)
                await asyncio.sleep(REDRAW_SECONDS)
                if moved.is_set():
                    moved.clear()
                    found = await jobs()
