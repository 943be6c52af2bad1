"""What the store needs to know of a journal without decoding it: where its frames are and what they add up to.

Only headers are looked at: the check of each frame was made by who wrote it and is made again by who reads it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.logs import HEADER_BYTES, MAX_CHUNK_BYTES, MAX_RECORD_BYTES, LogStream

# Payload length, kind, sequence: see domain.logs.
_HEADER = struct.Struct("<IBxxxQ8x")
_STDERR = int(LogStream.STDERR)
_NO_OUTPUT = frozenset({int(LogStream.GAP), int(LogStream.STEP)})


class Piece(NamedTuple):
    """A run of whole frames that fits into one row."""

    first_sequence: int
    records: int
    journal: bytes
    stdout_bytes: int
    stderr_bytes: int


def pieces_of(first_sequence: int, records: int, journal: bytes) -> list[Piece]:
    """Cuts a journal into rows of at most `MAX_CHUNK_BYTES`.

    Raises:
        InvalidArgument: It is not ``records`` whole frames numbered from ``first_sequence`` on.
    """
    pieces: list[Piece] = []
    start = offset = stdout = stderr = 0
    expected = first = first_sequence
    end = len(journal)
    unpack = _HEADER.unpack_from
    while offset < end:
        if offset + HEADER_BYTES > end:
            raise _damaged(offset, "the last frame is cut off")
        size, kind, sequence = unpack(journal, offset)
        behind = offset + HEADER_BYTES + size
        if size > MAX_RECORD_BYTES:
            raise _damaged(offset, "a frame is larger than a record may be")
        if behind > end:
            raise _damaged(offset, "the last frame is cut off")
        if sequence != expected:
            raise _damaged(offset, f"its sequence is {sequence}, not {expected}")
        if behind - start > MAX_CHUNK_BYTES:
            pieces.append(Piece(first, expected - first, journal[start:offset], stdout, stderr))
            start, first, stdout, stderr = offset, expected, 0, 0
        # As the supervisor counts for its seal: whatever is output but not standard error is standard output.
        if kind == _STDERR:
            stderr += size
        elif kind not in _NO_OUTPUT:
            stdout += size
        expected += 1
        offset = behind
    if expected > first:
        pieces.append(Piece(first, expected - first, journal[start:] if start else journal, stdout, stderr))
    if expected - first_sequence != records:
        raise _damaged(end, f"it holds {expected - first_sequence} records, not {records}")
    return pieces


def behind(piece: Piece, sequence: int) -> Piece:
    """The part of a piece from record ``sequence`` on, which is in it."""
    offset = 0
    for _ in range(sequence - piece.first_sequence):
        offset += HEADER_BYTES + _HEADER.unpack_from(piece.journal, offset)[0]
    (rest,) = pieces_of(sequence, piece.first_sequence + piece.records - sequence, piece.journal[offset:])
    return rest


def _damaged(offset: int, problem: str) -> InvalidArgument:
    return InvalidArgument(field="journal", problem=f"at byte {offset}: {problem}")
