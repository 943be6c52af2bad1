"""The newest chunks of logs that are being followed, so that many followers do not each read them from the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from runner_service.domain.logs import LogStatus
from runner_service.ports.store import LogChunk

TAIL_BYTES = 4 * 1024 * 1024
"""Kept of one followed log. A follower that is further behind reads from the store."""


class _Tail:
    def __init__(self) -> None:
        self.followers = 0
        self.chunks: deque[LogChunk] = deque()
        self.size = 0
        self.settled = False
        """Something may have ended the log since the last chunk."""


class LogTails:
    """Tails of the logs that are followed on this server: a cache that is right or empty, never stale."""

    def __init__(self) -> None:
        self._tails: dict[str, _Tail] = {}

    @contextmanager
    def following(self, attempt_id: str) -> Iterator[None]:
        """Keeps the tail of a log while the context is open."""
        tail = self._tails.setdefault(attempt_id, _Tail())
        tail.followers += 1
        try:
            yield
        finally:
            tail.followers -= 1
            if not tail.followers:
                del self._tails[attempt_id]

    def push(self, attempt_id: str, chunk: LogChunk, status: LogStatus) -> None:
        """Adds a chunk that was committed. One that was not appended as it is (duplicates were dropped, or it came
        after a hole) empties the tail instead."""
        tail = self._tails.get(attempt_id)
        if tail is None or not chunk.records:
            return
        last = tail.chunks[-1] if tail.chunks else None
        joins = last is None or last.first_sequence + last.records == chunk.first_sequence
        if not joins or chunk.first_sequence + chunk.records != status.next_sequence:
            tail.chunks.clear()
            tail.size = 0
            return
        tail.settled = status.sealed
        tail.chunks.append(chunk)
        tail.size += len(chunk.journal)
        while tail.size > TAIL_BYTES and len(tail.chunks) > 1:
            tail.size -= len(tail.chunks.popleft().journal)

    def settle(self, attempt_id: str) -> None:
        """A seal or a report came in for the log: its followers have to look at the store."""
        tail = self._tails.get(attempt_id)
        if tail is not None:
            tail.settled = True

    def at_end(self, attempt_id: str, sequence: int) -> bool:
        """Tells whether ``sequence`` is just behind the last chunk that was committed here, and no seal or report came
        in since: then there is nothing to look for. Only a hint where several servers take logs."""
        tail = self._tails.get(attempt_id)
        if tail is None or not tail.chunks or tail.settled:
            return False
        last = tail.chunks[-1]
        return last.first_sequence + last.records == sequence

    def read(self, attempt_id: str, sequence: int) -> Sequence[LogChunk]:
        """Chunks from the one that holds ``sequence`` on; empty when the tail does not reach back so far, or not so
        far ahead: the store knows."""
        tail = self._tails.get(attempt_id)
        if tail is None or not tail.chunks or sequence < tail.chunks[0].first_sequence:
            return ()
        return [chunk for chunk in tail.chunks if chunk.first_sequence + chunk.records > sequence]
