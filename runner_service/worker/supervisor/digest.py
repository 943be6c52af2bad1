"""The running SHA-256 of a log, without OpenSSL in memory for as long as logs are short.

OpenSSL hashes 1,700 MB/s here and costs 3.8 MB of memory; the interpreter's own code does 310 MB/s and costs
nothing. So a log starts with the latter, and one that grows past `SWITCH_BYTES` is hashed again from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

SWITCH_BYTES = 1 << 20


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


def _light() -> Hash:
    for name in ("_sha256", "_sha2", "hashlib"):  # Its own code: up to Python 3.11, from 3.12 on; and what is public.
        try:
            made: Hash = __import__(name).sha256()
        except ImportError:
            continue
        return made
    raise ImportError("this Python has no sha256")


class Digest:
    """Hashes what it is given; ``replay`` must be able to give it all again."""

    __slots__ = ("_bytes", "_hash", "_replay")

    def __init__(self, replay: Callable[[], Iterable[bytes]]) -> None:
        self._hash = _light()
        self._bytes = 0
        self._replay: Callable[[], Iterable[bytes]] | None = replay

    @property
    def replays(self) -> bool:
        """Whether the start of the log may be needed again."""
        return self._replay is not None

    def update(self, data: bytes) -> None:
        """Adds data that is not yet among what ``replay`` gives."""
        if self._replay is not None and self._bytes + len(data) > SWITCH_BYTES:
            from hashlib import sha256

            self._hash = sha256()
            for earlier in self._replay():
                self._hash.update(earlier)
            self._replay = None
        self._hash.update(data)
        self._bytes += len(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
