"""Reads the two output pipes of an attempt, or its terminal, into its journal.

One read of at most 64 KiB per turn of the loop, so that no job starves another. Output after silence is read at
once. A job that writes many small pieces is read every few milliseconds instead of as fast as it writes: the kernel's
pipe collects meanwhile, and there are fewer, bigger records, whose number is what everything downstream pays for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Callable
from time import monotonic_ns

from runner_service.domain.logs import MAX_RECORD_BYTES, LogStream
from runner_service.worker.supervisor.journal import Journal
from runner_service.worker.supervisor.loop import MILLISECOND, Loop, Timer
from runner_service.worker.supervisor.redaction import Redactor

PIPE_BYTES = 1 << 20
"""Asked for when a job floods; the kernel's default is 64 KiB, and its limit for users may refuse this."""
SMALL_BYTES = 8 * 1024
"""A read below this is small."""
SMALL_IN_A_ROW = 3
"""So many small reads in quick succession are a flood of small pieces."""
PAUSE_NS = 5 * MILLISECOND
RETRY_NS = 200 * MILLISECOND
"""Between two tries when the disk is full or the spool at its limit."""
SILENCE_NS = 100 * MILLISECOND
"""After which a short beginning of what may be a secret is shown to somebody who waits for a prompt."""
MAX_LAST_BYTES = 4 << 20
"""Read at the end from pipes that somebody who could not be killed may still write to."""


class Pipe:
    """The reading end of one output pipe."""

    __slots__ = (
        "_fd",
        "_journal",
        "_last_ns",
        "_loop",
        "_may_read",
        "_name",
        "_on_output",
        "_prompts",
        "_redactor",
        "_silence",
        "_small",
        "_stream",
        "_timer",
        "_wide",
    )

    def __init__(
        self,
        loop: Loop,
        fd: int,
        stream: LogStream,
        journal: Journal,
        *,
        on_output: Callable[[], None],
        may_read: Callable[[], bool],
        name: str = "",
        redactor: Redactor | None = None,
        prompts: bool = False,
    ) -> None:
        """Takes over ``fd``. ``may_read`` is asked before each read: False means the spool takes no more now.
        ``name``: of the other side, when that is no pipe. ``redactor``: what is read goes through it before it is
        written. ``prompts``: somebody may wait for what was written last, to answer it."""
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._stream = stream
        self._journal = journal
        self._on_output = on_output
        self._may_read = may_read
        self._small = 0
        self._last_ns = 0
        self._timer: Timer | None = None
        self._wide = bool(name)
        self._name = name
        self._redactor = redactor
        self._prompts = prompts
        self._silence: Timer | None = None
        loop.add(fd, select.EPOLLIN, self._on_ready)

    @property
    def closed(self) -> bool:
        return self._fd < 0

    @property
    def name(self) -> str:
        """As /proc/PID/fd shows the writing end too."""
        return self._name or (f"pipe:[{os.fstat(self._fd).st_ino}]" if self._fd >= 0 else "")

    def catch_up(self) -> None:
        """Reads what is there now, so that what comes later is told apart from it."""
        left = MAX_LAST_BYTES
        while self._fd >= 0 and left > 0 and not self._journal.stuck and self._may_read():
            size = self._read()
            if size <= 0:
                break
            left -= size

    def drain(self) -> None:
        """Reads what is left, without waiting, and closes. Nobody writes any more, but for survivors."""
        left = MAX_LAST_BYTES
        while self._fd >= 0 and left > 0:
            size = self._read()
            if size <= 0:
                break
            left -= size
        self.close()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._fd >= 0:
            self._loop.remove(self._fd)
            os.close(self._fd)
            self._fd = -1
            if self._redactor is not None:
                self._write(self._redactor.flush())

    def _write(self, data: bytes) -> None:
        # What was held back may come with it.
        for at in range(0, len(data), MAX_RECORD_BYTES):
            self._journal.write(self._stream, data[at : at + MAX_RECORD_BYTES])

    def _on_ready(self, _mask: int) -> None:
        if not self._may_read():
            self._pause(RETRY_NS)
            return
        size = self._read()
        if size < 0:
            return
        if size == 0:
            self.close()
            return
        now = monotonic_ns()
        if size >= MAX_RECORD_BYTES:
            self._small = 0
            self._widen()
        elif size < SMALL_BYTES and now - self._last_ns < 2 * PAUSE_NS:
            self._small += 1
            if self._small >= SMALL_IN_A_ROW:
                self._widen()
                self._pause(PAUSE_NS)
        else:
            self._small = 0
        self._last_ns = now

    def _read(self) -> int:
        """Reads once into the journal. Bytes read; 0 at the end, -1 when there is nothing now."""
        try:
            data = os.read(self._fd, MAX_RECORD_BYTES)
        except BlockingIOError:
            return -1
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # A terminal that nobody has open any more.
        if data:
            if self._redactor is None:
                self._write(data)
            else:
                self._write(self._redactor.feed(data))
                if self._prompts:
                    self._await_silence(self._redactor)
            self._on_output()
        return len(data)

    def _await_silence(self, redactor: Redactor) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if redactor.holds:
            self._silence = self._loop.call_later(SILENCE_NS, lambda: self._show(redactor))

    def _show(self, redactor: Redactor) -> None:
        self._silence = None
        if data := redactor.show():
            self._write(data)
            self._on_output()

    def _pause(self, delay_ns: int) -> None:
        # Taken out altogether: a pipe without writers would report its end all the time.
        self._loop.remove(self._fd)
        self._timer = self._loop.call_later(delay_ns, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if self._journal.stuck:
            self._journal.flush()
        self._loop.add(self._fd, select.EPOLLIN, self._on_ready)

    def _widen(self) -> None:
        if not self._wide:
            self._wide = True
            try:
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            except OSError:
                pass  # The user's pipes have reached their limit together: it goes on with 64 KiB.
