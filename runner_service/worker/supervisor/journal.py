"""Writes the journal of one attempt to its spool.

Output beyond the log limit is cut from the middle: the head goes to disk as it comes, of the rest only the newest
stays, in memory, and follows at the end behind a GAP that says how much is missing. A full disk loses nothing: the
record that did not fit is kept, the pipes are not read until it is written, and the job waits as on any slow reader.

What the server has committed is given back to the disk while the job runs, in steps of about `GIVE_BACK_BYTES`. The
border, the *base*, is always the start of a record, and what the log was up to there is remembered, so that the rest
can be read and counted without what is gone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from time import time_ns
from typing import NamedTuple

from runner_service.domain.logs import LogRecord, LogStream, decode, encode, write_step_mark
from runner_service.worker.supervisor import linux
from runner_service.worker.supervisor.digest import Digest
from runner_service.worker.supervisor.wire import Message

MAX_TAIL_BYTES = 1 << 20
"""Of memory for what is kept behind a gap."""
GIVE_BACK_BYTES = 1 << 20
"""Between two places from which on a journal can be kept."""
_BLOCK_BYTES = 1 << 16
"""Given back in multiples of this, which every file system can."""
_PIECE_BYTES = 1 << 18
_RECORD_COST = 200
"""Bytes of memory that a record of the tail takes beside its data."""


class Base(NamedTuple):
    """The start of a record, and what the records before it are."""

    offset: int
    records: int
    """How many, which is the sequence of the record that starts here."""
    stdout_bytes: int
    stderr_bytes: int


START = Base(0, 0, 0, 0)


class Journal:
    """One journal, for writing, from the start of its attempt to its seal. The file exists from the first record on."""

    __slots__ = (
        "_digest",
        "_fd",
        "_head_left",
        "_marks",
        "_next_mark",
        "_path",
        "_records",
        "_stderr_bytes",
        "_stdout_bytes",
        "_tail",
        "_tail_cost",
        "_tail_limit",
        "_unwritten",
        "acknowledged",
        "base",
        "dropped",
        "size",
    )

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._fd = -1
        self._tail_limit = min(max(0, limit) // 2, MAX_TAIL_BYTES)
        self._head_left = max(0, limit) - self._tail_limit
        self._tail: deque[tuple[int, LogStream, bytes]] | None = None
        self._tail_cost = 0
        self.dropped = 0
        """Bytes of output that are in neither head nor tail."""
        self.size = 0
        """Bytes of whole frames on disk: what a reader may read."""
        self.acknowledged = 0
        """Of them, bytes that nobody has to read any more."""
        self.base = START
        """What is below may be gone."""
        self._marks: deque[Base] = deque()
        """Where the base may move to."""
        self._next_mark = GIVE_BACK_BYTES
        self._unwritten: deque[bytes] = deque()
        self._records = 0
        self._stdout_bytes = 0
        self._stderr_bytes = 0
        self._digest = Digest(self._replay)

    @property
    def stuck(self) -> bool:
        """The disk takes no more: read no output until `flush` has succeeded."""
        return bool(self._unwritten)

    def write(self, stream: LogStream, data: bytes) -> None:
        """Adds output as it was read: at most 64 KiB."""
        if self._tail is None and len(data) <= self._head_left:
            self._head_left -= len(data)
            self._append(time_ns(), stream, data)
            return
        if self._tail is None:
            head, data = data[: self._head_left], data[self._head_left :]
            if head:
                self._append(time_ns(), stream, head)
            self._head_left = 0
            self._tail = deque()
        self._tail.append((time_ns(), stream, data))
        self._tail_cost += len(data) + _RECORD_COST
        # The limit counts bytes of output, the memory also what each record costs: both must hold.
        while self._tail and (self._tail_cost > MAX_TAIL_BYTES or self._tail_bytes() > self._tail_limit):
            _, _, oldest = self._tail.popleft()
            self._tail_cost -= len(oldest) + _RECORD_COST
            self.dropped += len(oldest)

    def cut(self) -> None:
        """The head ends here: of what follows only the newest is kept, and written at the end."""
        self._head_left = 0
        if self._tail is None:
            self._tail_limit = MAX_TAIL_BYTES if self._tail_limit == 0 else self._tail_limit
            self._tail = deque()

    def begin_step(self, index: int, code: int = 0) -> None:
        """Marks that what follows was written while step ``index`` ran, and how the one before it had ended."""
        data = write_step_mark(index, code)
        if self._tail is None:
            self._append(time_ns(), LogStream.STEP, data)
        else:
            self._tail.append((time_ns(), LogStream.STEP, data))
            self._tail_cost += len(data) + _RECORD_COST

    def flush(self) -> bool:
        """Writes what did not fit before; False when it still does not."""
        while self._unwritten:
            frame = self._unwritten[0]
            try:
                if self._fd < 0:
                    self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                written = os.pwrite(self._fd, frame, self.size)
            except OSError:
                return False
            if written < len(frame):  # Overwritten by the next try; a reader does not look behind size.
                return False
            self.size += written
            self._unwritten.popleft()
        if self.size >= self._next_mark:
            self._marks.append(Base(self.size, self._records, self._stdout_bytes, self._stderr_bytes))
            self._next_mark = self.size + GIVE_BACK_BYTES
        return True

    def seal(self) -> Message:
        """Writes gap and tail and says what the whole log is (`domain.logs.LogSeal`; the digest in hex)."""
        if self._tail is not None:
            if self.dropped:
                now = self._tail[0][0] if self._tail else time_ns()
                self._frame(LogRecord(self._records, now, LogStream.GAP, b"", self.dropped))
            for when, stream, data in self._tail:
                self._append(when, stream, data)
            self._tail = None
        return {
            "records": self._records,
            "stdout_bytes": self._stdout_bytes,
            "stderr_bytes": self._stderr_bytes,
            "sha256": self._digest.hexdigest(),
        }

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def acknowledge(self, offset: int) -> bool:
        """Nobody has to read what is below ``offset`` any more. True when the base has moved: whoever has written that
        down calls `give_back`."""
        self.acknowledged = max(self.acknowledged, min(offset, self.size))
        if self._digest.replays:
            return False
        before = self.base
        while self._marks and self._marks[0].offset <= self.acknowledged:
            self.base = self._marks.popleft()
        return self.base is not before

    def give_back(self, before: Base) -> None:
        """Frees the disk from the base of before up to the present one, where the file system can."""
        if self._fd >= 0:
            linux.punch_hole(self._fd, room(before.offset), room(self.base.offset))

    def _tail_bytes(self) -> int:
        return self._tail_cost - _RECORD_COST * len(self._tail or ())

    def _append(self, when: int, stream: LogStream, data: bytes) -> None:
        self._digest.update(data)
        if stream is LogStream.STDERR:
            self._stderr_bytes += len(data)
        elif stream is not LogStream.STEP:
            self._stdout_bytes += len(data)
        self._frame(LogRecord(self._records, when, stream, data))

    def _frame(self, record: LogRecord) -> None:
        self._records += 1
        self._unwritten.append(encode(record))
        self.flush()

    def _replay(self) -> Iterator[bytes]:
        """The data of all records so far, of which there is little more than `digest.SWITCH_BYTES`."""
        offset, rest = 0, b""
        while offset < self.size:
            rest += os.pread(self._fd, min(_PIECE_BYTES, self.size - offset), offset)
            offset, used = min(offset + _PIECE_BYTES, self.size), 0
            for record, behind in decode(rest):
                used = behind
                yield record.data
            rest = rest[used:]
        for record, _ in decode(b"".join(self._unwritten)):
            yield record.data


def room(base: int) -> int:
    """How much of a journal that is kept from ``base`` on takes no room on the disk."""
    return base & ~(_BLOCK_BYTES - 1)
