"""The supervisor's memory of its attempts on disk: one file, one line per fact, appended before it is told.

::

    {"spool": ID}                                first: which file this is, see `spool_id`
    {"start": ATTEMPT, "fence": 7, "boot_id": "…"}
    {"base": ATTEMPT, "at": {…journal.Base…}}    the journal below is given back
    {"end": {…wire.Known…}}
    {"forget": ATTEMPT}

A file per fact and attempt would cost ten times as much as the facts: creating one takes 80 µs here, a line 5 µs. A
line is whole or the last; what the process had appended when it was killed is there, since the kernel has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator

from runner_service.worker.supervisor import linux
from runner_service.worker.supervisor.compact import encode
from runner_service.worker.supervisor.journal import Base
from runner_service.worker.supervisor.wire import Known, Message

REWRITE_BYTES = 4 << 20
"""Beyond this, and twice its size after the last time, the file is rewritten with what is still of interest."""


class Index:
    """Open for appending from the start of a supervisor to its end."""

    def __init__(self, path: str, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._fd = -1
        self._size = 0
        self._rewrite_at = REWRITE_BYTES
        self._open: dict[str, bytes] = {}
        """The lines of attempts that are not forgotten: of each its start and newest base, or its end."""
        self._missing = b""
        """What a full disk has not taken yet."""
        self._name = ""
        self.spool_id = ""
        """Once it has begun: names this memory. What it does not hold was never started by a supervisor that has it.
        Part of it is the directory's place on the disk, so that a copy of the directory has another."""

    def read(self) -> tuple[dict[str, Message], list[Known]]:
        """What an earlier supervisor left: the facts of attempts that have no end, and those that have one."""
        begun: dict[str, Message] = {}
        ended: dict[str, Known] = {}
        for fact in self._facts():
            if "spool" in fact:
                self._name = fact["spool"]
            elif "start" in fact:
                begun[fact["start"]] = fact
            elif "base" in fact and fact["base"] in begun:
                begun[fact["base"]]["base"] = fact["at"]
            elif "end" in fact:
                known = Known(**fact["end"])
                begun.pop(known.attempt_id, None)
                ended[known.attempt_id] = known
            elif "forget" in fact:
                ended.pop(fact["forget"], None)
        return begun, list(ended.values())

    def begin(self, ended: Iterable[Known]) -> None:
        """Starts the file anew with the attempts that are still of interest."""
        self._name = self._name or os.urandom(16).hex()
        directory = os.stat(os.path.dirname(self._path))  # noqa: PTH116, PTH120
        self.spool_id = f"{self._name}-{directory.st_dev:x}-{directory.st_ino:x}"
        for known in ended:
            self._open[known.attempt_id] = _line({"end": known._asdict()})
        self._rewrite()

    def start(self, attempt_id: str, fence: int) -> None:
        """An attempt is about to start.

        Raises:
            OSError: This could not be written, so it must not.
        """
        line = _line({"start": attempt_id, "fence": fence, "boot_id": self._boot_id})
        self._append(line)
        if self._missing:
            self._missing = self._missing.removesuffix(line)
            raise OSError("there is no room for the spool")
        self._open[attempt_id] = line

    def base(self, attempt_id: str, base: Base) -> None:
        """The journal below ``base`` is about to be given back."""
        line = _line({"base": attempt_id, "at": base._asdict()})
        start, newline, _ = self._open[attempt_id].partition(b"\n")
        self._open[attempt_id] = start + newline + line
        self._append(line)

    def end(self, known: Known) -> None:
        """An attempt has ended. On a full disk the line is kept, and written as soon as there is room."""
        line = _line({"end": known._asdict()})
        self._open[known.attempt_id] = line
        self._append(line)

    def forget(self, attempt_id: str) -> None:
        if self._open.pop(attempt_id, None) is not None:
            self._append(_line({"forget": attempt_id}))
        if self._size > self._rewrite_at:
            self._rewrite()

    def _append(self, lines: bytes) -> None:
        self._missing += lines
        try:
            written = os.write(self._fd, self._missing)
        except OSError:
            return
        self._size += written
        self._missing = self._missing[written:]

    def _rewrite(self) -> None:
        content = _line({"spool": self._name}) + b"".join(self._open.values())
        fd = os.open(f"{self._path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, content) < len(content):
                raise OSError("there is no room for the index")
            os.replace(f"{self._path}.new", self._path)  # noqa: PTH105
        except OSError:
            os.close(fd)
            if self._fd < 0:
                raise
            self._rewrite_at = self._size * 2
            return
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._missing = fd, len(content), b""
        self._rewrite_at = max(REWRITE_BYTES, 2 * len(content))

    def _facts(self) -> Iterator[Message]:
        try:
            content = linux.read(self._path)
        except FileNotFoundError:
            return
        for line in content.splitlines():
            try:
                fact = json.loads(line)
            except ValueError:
                continue  # The torn last line of a supervisor that was killed.
            if isinstance(fact, dict):
                yield fact


def _line(fact: Message) -> bytes:
    return encode(fact).encode() + b"\n"
