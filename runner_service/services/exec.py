"""The use case of an interactive command: its input, its output and its end in one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from runner_service.domain.errors import JobFinished
from runner_service.domain.inputs import InputRecord, InputStatus
from runner_service.domain.jobs import Job, Stdin
from runner_service.ports.signals import Signals, input_topic
from runner_service.services.inputs import POLL_SECONDS, Inputs
from runner_service.services.logs import LogBatch, LogEnd, LogReader

AHEAD = 4
"""Messages that may wait for the caller to take them."""

Given = tuple[int | None, Sequence[InputRecord]]
"""A place, or None for behind all that is there, and records."""


class Exec:
    """Connects a caller with a job. Holds nothing: a caller who is cut off attaches again."""

    def __init__(self, *, reader: LogReader, inputs: Inputs, signals: Signals) -> None:
        self._reader = reader
        self._inputs = inputs
        self._signals = signals

    async def status(self, job: Job, *, writer: str = "") -> InputStatus | None:
        """How far the job's input is, and of it what ``writer`` gave; None when it takes none."""
        return None if job.spec.stdin is Stdin.NULL else await self._inputs.status(job.job_id, writer=writer)

    async def connect(
        self, job: Job, *, cursor: str, given: AsyncIterator[Given], known: InputStatus | None, writer: str = ""
    ) -> AsyncIterator[LogBatch | InputStatus | LogEnd]:
        """Gives the job what ``given`` brings, and yields its output from ``cursor`` on and how far its input is beyond
        what is ``known``, until it has ended: then `LogEnd`.

        Raises what `LogReader.read` and `Inputs.put` raise, and what ``given`` raises.
        """
        news: asyncio.Queue[LogBatch | InputStatus | LogEnd | Exception] = asyncio.Queue(AHEAD)

        async def watched(work: Coroutine[Any, Any, None]) -> None:
            try:
                await work
            except Exception as error:
                await news.put(error)

        async def read() -> None:
            async for item in self._reader.read(job.job_id, cursor=cursor, follow=True):
                await news.put(item)

        async def give() -> None:
            async for at, records in given:
                try:
                    await self._inputs.put(job.job_id, records, at, writer=writer)
                except JobFinished:
                    return  # Its end comes as output does.

        async def tell(told: InputStatus) -> None:
            with self._signals.subscribe(input_topic(job.job_id)) as waiter:
                while True:
                    status = await self._inputs.status(job.job_id, writer=writer)
                    if status != told:
                        told = status
                        await news.put(status)
                    await waiter.wait(POLL_SECONDS)

        works = [read(), give(), *([] if known is None else [tell(known)])]
        tasks = [asyncio.create_task(watched(work)) for work in works]
        try:
            while True:
                item = await news.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if isinstance(item, LogEnd):
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
