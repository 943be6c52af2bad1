"""`runner …` in a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import subprocess
import termios
from typing import Any

from e2e_server import RUNNER, ServerProcess, environment_of

PATIENCE = 60.0


class Terminal:
    """A program in a terminal of its own, as a person would sit before it."""

    def __init__(self, server: ServerProcess, *arguments: str, size: tuple[int, int] = (40, 100)) -> None:
        self.near, self._far = os.openpty()
        self.resize(*size)
        self.before = self.modes()
        self.seen = b""
        self.process = subprocess.Popen(
            [str(RUNNER), *arguments],
            stdin=self._far,
            stdout=self._far,
            stderr=self._far,
            env=environment_of(RUNNER_SERVER=server.grpc, TERM="xterm"),
            start_new_session=True,
        )
        os.set_blocking(self.near, False)

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._far)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.near, text)

    async def until(self, text: bytes) -> None:
        """Shows what is written until the text is there."""
        try:
            async with asyncio.timeout(PATIENCE):
                while text not in self.seen:
                    self._read()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not in {self.seen!r}") from None

    def row(self, word: str) -> list[str]:
        """The cells of the row of a table that begins with this word, as it was drawn last."""
        self._read()
        text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self.seen).decode(errors="replace")
        rows = [line.split() for line in re.split(r"[\r\n]+", text)]
        return next((row for row in reversed(rows) if row and row[0] == word), [])

    async def code(self) -> int:
        async with asyncio.timeout(PATIENCE):
            while self.process.poll() is None:
                self._read()
                await asyncio.sleep(0.01)
        self._read()
        return self.process.returncode

    def _read(self) -> None:
        try:
            while data := os.read(self.near, 1 << 16):
                self.seen += data
        except (BlockingIOError, OSError):
            pass

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.near)
        os.close(self._far)
