"""Reads logs by one cursor: history, then live, without a gap or a duplicate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass

from runner_service.domain.errors import AttemptNotFound, InvalidArgument
from runner_service.domain.ids import is_id
from runner_service.domain.jobs import Attempt, AttemptState, Job
from runner_service.domain.logs import (
    LogPosition,
    LogRecord,
    LogStatus,
    LogStream,
    decode,
    read_cursor,
    write_cursor,
)
from runner_service.ports.signals import Signals, job_topic, log_topic, runner_topic
from runner_service.ports.store import JobStore, LogChunk, LogStore
from runner_service.services.logs.archive import ArchiveReader
from runner_service.services.logs.tails import LogTails

READ_BYTES = 1024 * 1024
"""Of journal in one look at the store: bounds the memory of a reader that is behind."""
BATCH_BYTES = 256 * 1024
"""Of data handed out at one time."""
POLL_SECONDS = 30.0
"""A follower looks at the store this often even when no hint comes; `Signals` caps it where hints can get lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBatch:
    """Some records of one attempt, and the cursor behind them."""

    attempt_id: str
    records: Sequence[LogRecord]
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """The end of a read: for a follower of a terminal job, else of what is there now."""

    job: Job
    complete: bool
    cursor: str


class LogReader:
    """Followers, pages and whole outputs."""

    def __init__(
        self, *, jobs: JobStore, store: LogStore, archive: ArchiveReader, signals: Signals, tails: LogTails
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._archive = archive
        self._signals = signals
        self._tails = tails

    async def read(
        self, job_id: str, *, cursor: str = "", follow: bool = False, streams: Collection[LogStream] = ()
    ) -> AsyncIterator[LogBatch | LogEnd]:
        """Yields batches from ``cursor`` on, then one `LogEnd`. ``streams`` empty: all; GAP records always come.

        Raises:
            JobNotFound: No such job.
            InvalidArgument: The cursor is not of this job.
        """
        wanted = frozenset(streams) | {LogStream.GAP} if streams else frozenset(LogStream)
        with self._signals.subscribe(job_topic(job_id)) as moved:
            job = await self._jobs.get(job_id)
            attempts = await self._attempts(job_id)
            position = await self._begin(cursor, job_id)
            status: LogStatus | None = None
            # Not by place in the list: an attempt that turns out never to have started leaves it. Ids sort by age.
            over = {attempt.attempt_id for attempt in attempts if attempt.attempt_id < position.attempt_id}
            while True:
                attempt = _next(attempts, over)
                if attempt is not None:
                    if attempt.attempt_id != position.attempt_id:
                        position = LogPosition(attempt.attempt_id)
                    async for batch in self._read_attempt(job_id, position, follow, wanted):
                        if isinstance(batch, LogStatus):
                            status = batch
                        else:
                            position = read_cursor(batch.cursor)
                            yield batch
                    over.add(attempt.attempt_id)
                job = await self._jobs.get(job_id)
                attempts = await self._attempts(job_id)
                if _next(attempts, over) is not None:
                    continue
                if job.state.terminal or not follow:
                    complete = status.complete if status is not None else True
                    yield LogEnd(job=job, complete=complete, cursor=write_cursor(position))
                    return
                await moved.wait(POLL_SECONDS)

    async def _begin(self, cursor: str, job_id: str) -> LogPosition:
        if not cursor:
            return LogPosition("")
        try:
            position = read_cursor(cursor)
        except ValueError:
            raise InvalidArgument(field="cursor", problem="it is not a cursor of this service") from None
        if position.attempt_id:
            try:
                known = (await self._jobs.attempt(position.attempt_id)).job_id == job_id
            except AttemptNotFound:
                # Given out for an attempt that turned out never to have started, of which there was nothing to read.
                known = position.sequence == position.offset == 0 and is_id(position.attempt_id)
            if not known:
                raise InvalidArgument(field="cursor", problem="it is a cursor of another job")
        return position

    async def _attempts(self, job_id: str) -> Sequence[Attempt]:
        """The attempts that have, or may have, a log: an unconfirmed assignment can vanish again."""
        attempts = await self._jobs.attempts(job_id)
        return [attempt for attempt in attempts if attempt.state is not AttemptState.ASSIGNED]

    async def _read_attempt(
        self, job_id: str, position: LogPosition, follow: bool, wanted: Collection[LogStream]
    ) -> AsyncIterator[LogBatch | LogStatus]:
        """Yields the batches of one attempt, then its status. Following, it returns when the attempt has ended."""
        try:
            async for batch in self._follow_attempt(job_id, position, follow, wanted):
                yield batch
        except AttemptNotFound:
            # It turned out never to have started, and is gone without a trace: there was nothing to read.
            yield LogStatus(position.attempt_id, sealed=True)

    async def _follow_attempt(
        self, job_id: str, position: LogPosition, follow: bool, wanted: Collection[LogStream]
    ) -> AsyncIterator[LogBatch | LogStatus]:
        attempt_id = position.attempt_id
        # The job's topic too: an attempt whose runner is lost ends without a word in its log.
        topics = (log_topic(attempt_id), job_topic(job_id))
        unfollowed = follow and not self._signals.followed(log_topic(attempt_id))
        with self._tails.following(attempt_id), self._signals.subscribe(*topics) as grew:
            if unfollowed:
                # So that its worker ships at once from now on, and not when there is enough.
                runner_id = (await self._jobs.attempt(attempt_id)).runner_id
                self._signals.publish((runner_topic(runner_id),))
            while True:
                chunks = await self.chunks(attempt_id, position.sequence)
                for batch in _batches(chunks, position, wanted):
                    position = read_cursor(batch.cursor)
                    yield batch
                if chunks and not (follow and self._tails.at_end(attempt_id, position.sequence)):
                    continue
                if chunks:
                    # What was committed last is handed out and nothing has settled since: the store knows no more.
                    await grew.wait(POLL_SECONDS)
                    continue
                status = await self._store.status(attempt_id)
                if status.next_sequence > position.sequence:
                    continue
                if not follow or await self._has_ended(attempt_id, status):
                    yield status
                    return
                await grew.wait(POLL_SECONDS)

    async def _has_ended(self, attempt_id: str, status: LogStatus) -> bool:
        """An attempt that is over and sealed brings nothing more; one that is sealed but not over may be reported
        any moment."""
        return status.sealed and (await self._jobs.attempt(attempt_id)).state is AttemptState.FINISHED

    async def chunks(self, attempt_id: str, sequence: int) -> Sequence[LogChunk]:
        """Chunks from the one that holds ``sequence`` on, wherever the log is now; empty when nothing is there yet."""
        chunks = self._tails.read(attempt_id, sequence)
        if not chunks:
            chunks = await self._store.read(attempt_id, sequence=sequence, max_bytes=READ_BYTES)
        if not chunks:
            chunks = await self._archive.read(attempt_id, sequence)
        return chunks

    async def page(
        self, job_id: str, *, cursor: str, limit: int, streams: Collection[LogStream] = ()
    ) -> tuple[Sequence[LogRecord], str]:
        """Returns up to ``limit`` records, about 1 MiB at most, and the cursor behind them; the cursor is empty when
        the log has ended there. Raises as `read`."""
        records: list[LogRecord] = []
        size = 0
        async for batch in self.read(job_id, cursor=cursor, streams=streams):
            if isinstance(batch, LogEnd):
                return records, "" if batch.job.state.terminal else batch.cursor
            for record in batch.records:
                records.append(record)
                size += len(record.data)
                if len(records) == limit or size >= READ_BYTES:
                    return records, write_cursor(LogPosition(batch.attempt_id, record.sequence + 1))
        raise AssertionError("a read ends with LogEnd")

    async def read_newest(self, job: Job) -> AsyncIterator[LogBatch]:
        """Yields what there is of the newest attempt's log."""
        position = LogPosition(job.attempt_id)
        while job.attempt_id and (chunks := await self.chunks(job.attempt_id, position.sequence)):
            for batch in _batches(chunks, position, frozenset(LogStream)):
                position = read_cursor(batch.cursor)
                yield batch


def _next(attempts: Sequence[Attempt], over: Collection[str]) -> Attempt | None:
    """The first attempt that was not read to its end."""
    return next((attempt for attempt in attempts if attempt.attempt_id not in over), None)


def _batches(chunks: Iterable[LogChunk], position: LogPosition, wanted: Collection[LogStream]) -> Iterable[LogBatch]:
    """Cuts chunks into batches of about BATCH_BYTES, from ``position`` on. A run without wanted records becomes
    an empty batch, which moves the cursor."""
    records: list[LogRecord] = []
    size = 0
    handed_out = sequence = position.sequence
    offset = position.offset
    for chunk in chunks:
        for record, _ in decode(chunk.journal):
            if record.sequence < sequence:
                continue
            sequence = record.sequence + 1
            if record.stream in wanted:
                records.append(record._replace(data=record.data[offset:]) if offset else record)
                size += len(record.data)
            offset = 0
            if size >= BATCH_BYTES:
                yield _batch(position.attempt_id, records, sequence)
                handed_out = sequence
                records, size = [], 0
    if sequence > handed_out:
        yield _batch(position.attempt_id, records, sequence)


def _batch(attempt_id: str, records: Sequence[LogRecord], sequence: int) -> LogBatch:
    return LogBatch(attempt_id=attempt_id, records=records, cursor=write_cursor(LogPosition(attempt_id, sequence)))
