"""Takes the logs of attempts from workers: an acknowledgement follows the commit, never goes before it."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.logs import LogRecord, LogSeal, LogStatus, encode_all
from runner_service.ports.signals import Signals, log_topic
from runner_service.ports.store import LogChunk, LogStore
from runner_service.services.logs.tails import LogTails


class LogIngest:
    """Appends and seals."""

    def __init__(self, *, store: LogStore, signals: Signals, tails: LogTails) -> None:
        self._store = store
        self._signals = signals
        self._tails = tails

    async def append(self, attempt_id: str, fence: int, records: Sequence[LogRecord]) -> LogStatus:
        """Commits records and returns how the log stands; see `LogStore.append`. Without records: only looks.

        Raises:
            StaleAttempt: The attempt is not the worker's any more.
            LogSealed: No record may follow.
        """
        first = records[0].sequence if records else 0
        chunk = LogChunk(first_sequence=first, records=len(records), journal=encode_all(records))
        status = await self._store.append(attempt_id, fence, chunk)
        if records:
            self._tails.push(attempt_id, chunk, status)
            self._signals.publish((log_topic(attempt_id),))
        return status

    async def seal(self, attempt_id: str, fence: int, seal: LogSeal) -> LogStatus:
        """Seals a log when all of it is there; see `LogStore.seal`."""
        status = await self._store.seal(attempt_id, fence, seal)
        self._signals.publish((log_topic(attempt_id),))
        return status

    def followed(self, attempt_id: str) -> bool:
        """Tells whether somebody follows the log on this server now."""
        return self._signals.followed(log_topic(attempt_id))
