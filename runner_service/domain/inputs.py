"""The input of a job: bytes for its standard input, and what happens to its terminal, in one order.

Every record has a place in the job's input, its offset: data takes as many places as it has bytes, any other record
one. The place makes giving the same record twice harmless, and is where everyone resumes: the client at what the
server has, the worker at what its supervisor has. Of several clients each is a writer, whose places count only what it
gives: where that lies in the job's input is decided when it is kept.

Free of ``dataclasses``: the supervisor imports this, and they would cost it 2 MB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

MAX_DATA_BYTES = 64 * 1024
"""Of one record."""
WINDOW = 256 * 1024
"""Places that data may be ahead of what the processes were given: whoever gives more waits."""
SLACK = 1024
"""Further places for what is no data: a signal must not wait behind bytes that nobody reads."""
KNOWN_WRITERS = 1_000
"""Of one job: who wrote least lately is forgotten when there is one more."""
MAX_WRITER = 200
"""Characters."""
KEPT_PLACES = 16 * 1024 * 1024
"""All that a job may be given whose input is kept for another attempt."""

_SIZE = struct.Struct("<HH")


class InputKind(IntEnum):
    """What a record of input is."""

    DATA = 1
    END = 2
    """Nothing follows: standard input ends behind the bytes before it."""
    RESIZE = 3
    """The terminal has another size."""
    SIGNAL = 4
    """A signal for the foreground processes."""
    SPENT = 5
    """A signal that an earlier attempt got: its place, and no effect."""


class InputRecord(NamedTuple):
    """One record."""

    kind: InputKind
    payload: bytes = b""
    """DATA: the bytes. RESIZE: rows and columns, 16 bits each. SIGNAL: its number. Else empty."""

    @property
    def places(self) -> int:
        return len(self.payload) if self.kind is InputKind.DATA else 1

    @property
    def terminal_size(self) -> tuple[int, int]:
        """Rows and columns of a RESIZE."""
        rows, columns = _SIZE.unpack(self.payload)
        return rows, columns

    @property
    def signal(self) -> int:
        """The number of a SIGNAL."""
        return self.payload[0]


class PlacedInput(NamedTuple):
    """A record and its place."""

    offset: int
    record: InputRecord

    @property
    def behind(self) -> int:
        """The place behind it."""
        return self.offset + self.record.places


class InputStatus(NamedTuple):
    """How far the input of a job is."""

    next_offset: int = 0
    """All before it is kept."""
    written_offset: int = 0
    """The processes of the newest attempt were given everything before it."""
    limit_offset: int = WINDOW
    """Data is taken up to here now."""
    ended: bool = False
    taken: int = 0
    """Places of what `append` was just given that are kept now, those that were kept before included."""
    writer_offset: int = 0
    """All that the writer gave before it is kept; counted in what the writer gave. Of no writer: `next_offset`."""


def data(payload: bytes) -> list[InputRecord]:
    """Bytes as records, none for no bytes."""
    return [
        InputRecord(InputKind.DATA, payload[at : at + MAX_DATA_BYTES]) for at in range(0, len(payload), MAX_DATA_BYTES)
    ]


END = InputRecord(InputKind.END)


def resize(rows: int, columns: int) -> InputRecord:
    return InputRecord(InputKind.RESIZE, _SIZE.pack(rows, columns))


def signal(number: int) -> InputRecord:
    return InputRecord(InputKind.SIGNAL, bytes((number,)))


def placed(records: Iterable[InputRecord], offset: int) -> Iterator[PlacedInput]:
    """Records that stand side by side from ``offset`` on."""
    for record in records:
        yield PlacedInput(offset, record)
        offset += record.places


def cut(one: PlacedInput, offset: int) -> PlacedInput:
    """The part of a record of data from ``offset``, which is in it, on."""
    return PlacedInput(offset, InputRecord(one.record.kind, one.record.payload[offset - one.offset :]))
