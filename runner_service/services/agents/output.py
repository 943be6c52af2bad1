"""The output of an agent as lines, each with the place in its log behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from runner_service.domain.agent_lines import MAX_LINE_BYTES
from runner_service.domain.logs import LogPosition, LogRecord, LogStream


class OutputLine(NamedTuple):
    """One line, without its end."""

    data: bytes
    behind: LogPosition
    time_ns: int
    """When its last bytes were read."""


class LineSplitter:
    """Cuts the records of one log, from ``start`` on, into lines. Holds at most one line that has not ended yet; one
    that is too long is given out cut, its rest thrown away."""

    def __init__(self, start: LogPosition) -> None:
        self._start = start
        self._pieces: list[bytes] = []
        self._size = 0
        self._attempt_id = start.attempt_id

    def feed(self, attempt_id: str, record: LogRecord) -> Iterator[OutputLine]:
        """The lines that end in a record. Records come in order; of another attempt, what was begun is forgotten."""
        if attempt_id != self._attempt_id:
            self._attempt_id, self._start = attempt_id, LogPosition(attempt_id)
            self._clear()
        if record.stream is LogStream.GAP:
            # What began before a gap does not end behind it.
            self._clear()
            return
        if record.stream is not LogStream.STDOUT:
            return
        begin = 0
        # A reader that resumed within this record was given the rest of it.
        base = self._start.offset if record.sequence == self._start.sequence else 0
        while (end := record.data.find(b"\n", begin)) >= 0:
            self._keep(record.data[begin:end])
            line = b"".join(self._pieces)
            self._clear()
            begin = end + 1
            yield OutputLine(line, LogPosition(attempt_id, record.sequence, base + begin), record.time_ns)
        self._keep(record.data[begin:])

    def _keep(self, piece: bytes) -> None:
        room = MAX_LINE_BYTES + 1 - self._size
        if piece and room > 0:
            self._pieces.append(piece[:room])
            self._size += len(self._pieces[-1])

    def _clear(self) -> None:
        self._pieces.clear()
        self._size = 0
