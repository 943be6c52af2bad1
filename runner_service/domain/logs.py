"""The log journal: typed records of raw bytes, one encoding for the worker's spool and the server's store.

A journal is a run of frames. A frame is a 24-byte little-endian header and its payload::

    u32  payload length, at most MAX_RECORD_BYTES (of a GAP: 8)
    u8   kind of record (LogStream)
    u8   flags (0)
    u16  check: the low 16 bits of crc32 over the header without this field, then the payload
    u64  sequence, from 0, without holes
    u64  time: nanoseconds since 1970, UTC, when the bytes were read

Bytes are never decoded and never split into lines on the way. Order is exact within a stream; across the two pipes it
is the order in which they were read. A torn frame at the end of a spool (its writer was killed) is told apart from
corruption: `decode` stops before it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

MAX_RECORD_BYTES = 64 * 1024
"""Of payload in one record."""
MAX_CHUNK_BYTES = 256 * 1024
"""Of frames in one stored chunk."""

_HEADER = struct.Struct("<IBBHQQ")
HEADER_BYTES = _HEADER.size
_CHECKED = struct.Struct("<IBBQQ")
_GAP = struct.Struct("<Q")


class LogStream(IntEnum):
    """Where a record comes from."""

    STDOUT = 1
    STDERR = 2
    PTY = 3
    """Both outputs of a terminal, as one stream."""
    SYSTEM = 4
    """A sentence of the service itself, UTF-8."""
    STEP = 5
    """A step begins here, see `read_step_mark`. No output; the first step has none."""
    GAP = 15
    """Not bytes but their absence: how many were dropped here, on purpose and said aloud."""


class LogRecord(NamedTuple):
    """One record of a journal."""

    sequence: int
    time_ns: int
    stream: LogStream
    data: bytes
    """Empty for a GAP."""
    gap_bytes: int = 0
    """For a GAP: how many bytes of output are missing here."""


class StepMark(NamedTuple):
    """What a STEP record says."""

    step: int
    """Index of the step that begins."""
    code: int
    """How the one before it ended, as in `Outcome.step_codes`."""


def write_step_mark(step: int, code: int) -> bytes:
    """The data of a STEP record: the index in decimal digits and, unless the step before ended with 0, a blank and its
    code."""
    return str(step).encode() if code == 0 else f"{step} {code}".encode()


def read_step_mark(data: bytes) -> StepMark:
    """What `write_step_mark` wrote."""
    step, _, code = data.partition(b" ")
    return StepMark(int(step), int(code or b"0"))


class JournalCorrupt(Exception):
    """The journal is damaged at byte {offset}."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"The journal is damaged at byte {offset}.")
        self.offset = offset


def encode(record: LogRecord) -> bytes:
    """Encodes one record as a frame."""
    payload = _GAP.pack(record.gap_bytes) if record.stream is LogStream.GAP else record.data
    size = len(payload)
    if size > MAX_RECORD_BYTES:
        raise ValueError(f"a record holds at most {MAX_RECORD_BYTES} bytes, not {size}")
    head = _CHECKED.pack(size, record.stream, 0, record.sequence, record.time_ns)
    check = zlib.crc32(payload, zlib.crc32(head)) & 0xFFFF
    return _HEADER.pack(size, record.stream, 0, check, record.sequence, record.time_ns) + payload


def encode_all(records: Iterable[LogRecord]) -> bytes:
    """Encodes records as one run of frames."""
    return b"".join(map(encode, records))


def decode(journal: bytes | memoryview, offset: int = 0) -> Iterator[tuple[LogRecord, int]]:
    """Yields each whole record from byte ``offset`` on, with the offset behind it.

    Stops without an error before a frame that is cut off by the end of ``journal``.

    Raises:
        JournalCorrupt: A whole frame fails its check, or its header makes no sense.
    """
    view = memoryview(journal)
    end = len(view)
    while offset + HEADER_BYTES <= end:
        size, kind, flags, check, sequence, time_ns = _HEADER.unpack_from(view, offset)
        behind = offset + HEADER_BYTES + size
        if size > MAX_RECORD_BYTES or flags:
            raise JournalCorrupt(offset)
        if behind > end:
            return
        payload = bytes(view[offset + HEADER_BYTES : behind])
        head = _CHECKED.pack(size, kind, flags, sequence, time_ns)
        if zlib.crc32(payload, zlib.crc32(head)) & 0xFFFF != check:
            raise JournalCorrupt(offset)
        try:
            stream = LogStream(kind)
        except ValueError:
            raise JournalCorrupt(offset) from None
        if stream is LogStream.GAP:
            yield LogRecord(sequence, time_ns, stream, b"", _GAP.unpack(payload)[0]), behind
        else:
            yield LogRecord(sequence, time_ns, stream, payload), behind
        offset = behind


class LogSeal(NamedTuple):
    """What the runner says a whole log is; checked before the log counts as complete."""

    records: int
    """How many, so that the next sequence would be this number."""
    stdout_bytes: int
    stderr_bytes: int
    sha256: bytes
    """Over the data of all records in order, gaps left out: 32 bytes."""


class LogStatus(NamedTuple):
    """How the stored log of an attempt stands."""

    attempt_id: str
    next_sequence: int = 0
    """The sequence that the next record must have: all before it are committed."""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    sealed: bool = False
    """No record will follow."""
    complete: bool = True
    """False when it was sealed with records missing at the end, e.g. because its runner was lost."""


class LogPosition(NamedTuple):
    """A place in the logs of a job: before record ``sequence``, ``offset`` bytes into it."""

    attempt_id: str
    """Empty: before the first attempt."""
    sequence: int = 0
    offset: int = 0


def write_cursor(position: LogPosition) -> str:
    """The opaque form of a position that clients keep and send back."""
    return f"{position.attempt_id}.{position.sequence:x}.{position.offset:x}"


def read_cursor(cursor: str) -> LogPosition:
    """Reads what `write_cursor` wrote.

    Raises:
        ValueError: It is not a cursor.
    """
    attempt_id, sequence, offset = cursor.split(".")
    position = LogPosition(attempt_id, int(sequence, 16), int(offset, 16))
    if position.sequence < 0 or position.offset < 0:
        raise ValueError("a cursor has no negative parts")
    return position
