"""Use cases of input: give it to a job, and bring it to the worker that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from runner_service.domain import inputs
from runner_service.domain.errors import AttemptNotFound, InvalidArgument, StaleAttempt
from runner_service.domain.inputs import InputRecord, InputStatus, PlacedInput
from runner_service.ports.signals import Signals, input_topic, job_topic
from runner_service.ports.store import InputStore, JobStore

POLL_SECONDS = 30.0
"""Who waits looks at the store this often even when no hint comes; `Signals` caps it where hints can get lost."""
READ_RECORDS = 64
"""In one look at the store, 64 KiB of data each at most."""


class Inputs:
    """The input of jobs. Holds nothing: what is given is kept by the store when it is answered."""

    def __init__(self, *, store: InputStore, jobs: JobStore, signals: Signals) -> None:
        self._store = store
        self._jobs = jobs
        self._signals = signals

    async def append(self, job_id: str, data: bytes, at: int | None = None) -> InputStatus:
        """Gives bytes to a job; see `put`."""
        return await self.put(job_id, inputs.data(data), at)

    async def end(self, job_id: str, at: int | None = None) -> InputStatus:
        """Says that nothing follows; see `put`."""
        return await self.put(job_id, [inputs.END], at)

    async def put(
        self, job_id: str, records: Sequence[InputRecord], at: int | None = None, *, writer: str = ""
    ) -> InputStatus:
        """Keeps all of ``records``, and returns how far the input is. What the processes do not read in time is waited
        for: cancel the call to give up, and look at `status` for how far it came. Given again with the same place
        ``at`` by the same ``writer``, nothing is kept twice; without a place it goes behind all that is there.

        Raises as `InputStore.append`.
        """
        check_writer(writer)
        rest = list(records)
        with self._signals.subscribe(input_topic(job_id), job_topic(job_id)) as waiter:
            while True:
                status = await self._store.append(job_id, rest, at=at, writer=writer)
                if status.taken:
                    self._signals.publish((input_topic(job_id),))
                rest, done = _behind(rest, status.taken), at
                if not rest:
                    return status
                at = None if done is None else done + status.taken
                await waiter.wait(POLL_SECONDS)

    async def status(self, job_id: str, *, writer: str = "") -> InputStatus:
        """How far the input of a job is, and of it what a writer gave. Raises `JobNotFound`, `InputNotTaken`."""
        check_writer(writer)
        return await self._store.status(job_id, writer=writer)

    async def feed(
        self, runner_id: str, attempt_id: str, fence: int, offset: int, written: AsyncIterator[int]
    ) -> AsyncIterator[Sequence[PlacedInput]]:
        """Yields the input of an attempt of a runner from ``offset`` on as it comes while ``written`` tells how far its
        processes are. Ends with ``written``.

        Raises:
            StaleAttempt: The attempt has ended, or is not the worker's any more.
        """
        try:
            attempt = await self._jobs.attempt(attempt_id)
        except AttemptNotFound:
            raise StaleAttempt(attempt_id=attempt_id, fence=fence) from None
        if attempt.runner_id != runner_id:
            raise StaleAttempt(attempt_id=attempt_id, fence=fence)
        job_id = attempt.job_id
        with self._signals.subscribe(input_topic(job_id), job_topic(job_id)) as waiter:
            advancing = asyncio.create_task(self._advance(job_id, attempt_id, fence, written))
            try:
                while not advancing.done():
                    records = await self._store.read(attempt_id, fence, offset=offset, limit=READ_RECORDS)
                    if records:
                        offset = records[-1].behind
                        yield records
                        continue
                    waiting = asyncio.ensure_future(waiter.wait(POLL_SECONDS))
                    try:
                        await asyncio.wait((waiting, advancing), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        waiting.cancel()
                await advancing
            except StaleAttempt:
                # Nobody can be given it any more when the job is over; else the next attempt gets it.
                await self._store.discard(job_id)
                raise
            finally:
                advancing.cancel()
                await asyncio.wait((advancing,))

    async def _advance(self, job_id: str, attempt_id: str, fence: int, written: AsyncIterator[int]) -> None:
        async for place in written:
            await self._store.advance(attempt_id, fence, place)
            self._signals.publish((input_topic(job_id),))


def check_writer(writer: str) -> None:
    """Raises `InvalidArgument` for a name that no writer may have."""
    if len(writer) > inputs.MAX_WRITER or "\0" in writer:
        raise InvalidArgument(
            field="writer_id", problem=f"give at most {inputs.MAX_WRITER} characters, none of them NUL"
        )


def _behind(records: Sequence[InputRecord], places: int) -> list[InputRecord]:
    """The records behind so many places, the first cut where they end."""
    rest = []
    for one in inputs.placed(records, -places):
        if one.behind > 0:
            rest.append(inputs.cut(one, 0).record if one.offset < 0 else one.record)
    return rest
