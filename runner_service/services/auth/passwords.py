"""Passwords and client secrets: argon2, off the event loop and few at a time."""

from __future__ import annotations

import asyncio
import functools

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB = 7 * 1024
TIME_COST = 5
AT_ONCE = 2
"""How many are computed at one time: what a flood of wrong passwords costs in memory and processors is bounded."""


class Passwords:
    """Hashes and verifies. The parameters are the ones of least memory that OWASP gives for argon2id: 7 MiB and about
    20 ms each, for the allocator keeps what the largest took."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, time_cost: int = TIME_COST) -> None:
        self._hasher = PasswordHasher(memory_cost=memory_kib, time_cost=time_cost, parallelism=1)
        self._room = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        """The hash in argon2's own encoding, with a fresh salt."""
        async with self._room:
            return await asyncio.to_thread(self._hasher.hash, _bytes(password))

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Tells whether the password is the one that was hashed. ``None`` for nobody's hash takes as long and is false,
        so that the time does not tell whether a user exists."""
        async with self._room:
            return await asyncio.to_thread(self._verify, password, hashed)

    def _verify(self, password: str, hashed: str | None) -> bool:
        try:
            return self._hasher.verify(hashed or self._nobody, _bytes(password)) and hashed is not None
        except (VerificationError, InvalidHashError):
            return False

    @functools.cached_property
    def _nobody(self) -> str:
        return self._hasher.hash(b"nobody")


def is_hash(text: str) -> bool:
    """Tells whether it is a hash of ours rather than a password in plain."""
    return text.startswith("$argon2")


def _bytes(password: str) -> bytes:
    # Half a surrogate pair is no text, but it is no reason to crash either.
    return password.encode("utf-8", "surrogatepass")
