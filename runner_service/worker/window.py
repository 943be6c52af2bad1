"""Which parts of a journal are under way to the server, and where to go on after a cut."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Mark(NamedTuple):
    """A border between two records of a journal."""

    sequence: int
    """Of the record behind it."""
    offset: int
    """Where that record begins, in bytes."""


START = Mark(0, 0)


class Window:
    """The batches of one log that are sent and not acknowledged."""

    __slots__ = ("_sent", "base", "committed")

    def __init__(self, base: Mark = START) -> None:
        self.base = base
        """Where the journal begins: what was before it is with the server, and perhaps nowhere else."""
        self.committed = base
        """All before it is with the server, for good."""
        self._sent: deque[Mark] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def sent(self) -> Mark:
        """The end of what was sent."""
        return self._sent[-1] if self._sent else self.committed

    def push(self, end: Mark) -> None:
        """A batch that ends at ``end`` was sent."""
        self._sent.append(end)

    def skip(self, end: Mark) -> None:
        """What ends at ``end`` need not be sent; only while nothing is under way."""
        self.committed = end

    def acknowledge(self, next_sequence: int) -> bool:
        """The server has committed all before ``next_sequence``. False: less than it had said before."""
        while self._sent and self._sent[0].sequence <= next_sequence:
            self.committed = self._sent.popleft()
        return next_sequence >= self.committed.sequence

    def give_up(self) -> None:
        """What is committed need not be here any more."""
        self.base = self.committed

    def resume(self, next_sequence: int) -> Mark:
        """Begins again on a new stream on which the server asks for ``next_sequence``; nothing is under way then.

        Returns the last known mark at or before it: records between the mark and ``next_sequence`` are with the server
        already. A mark behind it is the base: the server asks for what was given up.
        """
        known = [mark for mark in (self.base, self.committed, *self._sent) if mark.sequence <= next_sequence]
        self._sent.clear()
        self.committed = known[-1] if known else self.base
        return self.committed
