"""Identifiers: UUIDv7, which sort by the time they were made."""

from __future__ import annotations

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def is_id(text: str) -> bool:
    """Tells whether it can be an id at all; databases choke on some of what cannot."""
    return len(text) == 36 and text.isascii() and text.isprintable()


def seconds_of(text: str) -> float | None:
    """When an id was made, in seconds since 1970; None: it is no UUIDv7."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return None
    return (value.int >> 80) / 1000 if value.version == 7 else None


def new_id() -> str:
    """Makes a UUIDv7 (RFC 9562) in its 36-character form.

    Ids made by one process sort in the order they were made, also within a millisecond: the 12 bits after the
    version count up in steps of 1/4096 ms. First in, first out therefore needs no column of its own.
    """
    global _last
    with _lock:
        # Milliseconds in the upper 48 bits, 1/4096 ms in the lower 12: RFC 9562 §6.2 method 3.
        nanoseconds = time.time_ns()
        tick = (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 * 4096 // 1_000_000)
        _last = tick = max(tick, _last + 1)
    random = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    value = (tick >> 12) << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0b10 << 62 | random
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
