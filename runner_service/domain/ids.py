"""Identifiers: UUIDv7, which sort by the time they were made."""

from __future__ import annotations

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0
_RANDOM_BYTES = 8
_POOL_BYTES = 128 * _RANDOM_BYTES
"""Asked of the kernel at once: every such call lets go of the interpreter, and another thread may keep it for long."""
_pool = b""


def _forget_pool() -> None:
    global _pool
    _pool = b""


os.register_at_fork(after_in_child=_forget_pool)  # else two processes would draw the same


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
    global _last, _pool
    with _lock:
        if not _pool:
            _pool = os.urandom(_POOL_BYTES)
        drawn, _pool = _pool[:_RANDOM_BYTES], _pool[_RANDOM_BYTES:]
        # Milliseconds in the upper 48 bits, 1/4096 ms in the lower 12: RFC 9562 §6.2 method 3.
        nanoseconds = time.time_ns()
        tick = (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 * 4096 // 1_000_000)
        _last = tick = max(tick, _last + 1)
    random = int.from_bytes(drawn) & 0x3FFF_FFFF_FFFF_FFFF
    value = (tick >> 12) << 80 | 0x7 << 76 | (tick & 0xFFF) << 64 | 0b10 << 62 | random
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
