"""Standard input and outputs of an attempt, which all its steps share: two pipes and nothing to read, three pipes, or a
terminal. The ends that processes get are held here too until the last step has them, so that a step may follow.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from runner_service.domain.logs import LogStream
from runner_service.worker.supervisor import terminal
from runner_service.worker.supervisor.feed import Feed
from runner_service.worker.supervisor.journal import Journal
from runner_service.worker.supervisor.loop import Loop
from runner_service.worker.supervisor.pipes import Pipe
from runner_service.worker.supervisor.redaction import Forms, Redactor
from runner_service.worker.supervisor.spawn import spawn
from runner_service.worker.supervisor.wire import Plan


class Stdio:
    """What an attempt reads from and writes to. Made by `open`; `drain` and `close` end it."""

    __slots__ = ("_divert", "_group", "_inner", "_near", "_prompts", "_stdin", "_terminal", "feed", "outputs")

    def __init__(self, group: Callable[[], int], divert: Callable[[int], None] | None) -> None:
        self._group = group
        self._divert = divert
        self._inner: list[int] = []
        """The ends for the processes: of the outputs, or the terminal."""
        self._stdin = -1
        self._near = -1
        self._terminal = ""
        self._prompts = False
        self.outputs: list[Pipe] = []
        self.feed: Feed | None = None

    @classmethod
    def open(
        cls,
        plan: Plan,
        loop: Loop,
        journal: Journal,
        *,
        on_output: Callable[[], None],
        may_read: Callable[[], bool],
        on_written: Callable[[], None],
        group: Callable[[], int],
        divert: Callable[[int], None] | None = None,
    ) -> Stdio:
        """
        Args:
            group: Tells the process group that gets a signal where no terminal knows a better one; 0: none.
            divert: Gets the signals instead.

        Raises:
            OSError: The machine has no room for more.
        """
        self = cls(group, divert)
        self._prompts = plan.stdin in ("PTY", "PIPE")
        forms = Forms(map(os.fsencode, plan.secrets)) if plan.secrets else None
        try:
            if plan.stdin == "PTY":
                self._near, far, self._terminal = terminal.open_terminal(*plan.terminal)
                self._inner.append(far)
                self._read(os.dup(self._near), LogStream.PTY, loop, journal, on_output, may_read, forms)
                writing = os.dup(self._near)
            else:
                for stream in (LogStream.STDOUT, LogStream.STDERR):
                    reading, inner = os.pipe2(os.O_CLOEXEC)
                    self._inner.append(inner)
                    self._read(reading, stream, loop, journal, on_output, may_read, forms)
                if plan.stdin == "PIPE":
                    self._stdin, writing = os.pipe2(os.O_CLOEXEC)
            if plan.stdin in ("PTY", "PIPE"):
                self.feed = Feed(
                    loop, writing, terminal=plan.stdin == "PTY", on_written=on_written, on_signal=self._signal,
                    on_resize=self._resize,
                )  # fmt: skip
        except OSError:
            self.drain()
            self.close()
            raise
        return self

    @property
    def names(self) -> list[str]:
        """By which processes are known that have them open."""
        return [output.name for output in self.outputs]

    @property
    def on_terminal(self) -> bool:
        return bool(self._terminal)

    def spawn(self, argv: list[str], environment: Mapping[str, str], working_directory: str, channel: int = -1) -> int:
        """Starts a process with them; see `spawn.spawn`."""
        return spawn(
            argv, environment, working_directory, self._inner, stdin=self._stdin, terminal=self._terminal,
            channel=channel,
        )  # fmt: skip

    def close_inner(self) -> None:
        """No process is started any more: who is left holding them is of the job."""
        for fd in self._inner:
            os.close(fd)
        self._inner.clear()
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def catch_up(self) -> None:
        """Takes what was written so far, so that what comes later is told apart from it."""
        for output in self.outputs:
            output.catch_up()

    def drain(self) -> None:
        """Takes what was written last. Nothing lives any more that could write or read."""
        self.close_inner()
        for output in self.outputs:
            output.drain()
        if self.feed is not None:
            self.feed.close()

    def close(self) -> None:
        if self._near >= 0:
            os.close(self._near)
            self._near = -1

    def _read(
        self,
        fd: int,
        stream: LogStream,
        loop: Loop,
        journal: Journal,
        on_output: Callable[[], None],
        may_read: Callable[[], bool],
        forms: Forms | None,
    ) -> None:
        redactor = None if forms is None else Redactor(forms)
        output = Pipe(
            loop, fd, stream, journal, on_output=on_output, may_read=may_read, name=self._terminal, redactor=redactor,
            prompts=self._prompts,
        )  # fmt: skip
        self.outputs.append(output)

    def _signal(self, number: int) -> None:
        if self._divert is not None:
            self._divert(number)
            return
        group = (terminal.foreground(self._near) if self._near >= 0 else 0) or self._group()
        if group > 1:
            try:
                os.killpg(group, signal.Signals(number))
            except (ProcessLookupError, PermissionError, ValueError):
                pass  # It has ended, or is no signal here.

    def _resize(self, rows: int, columns: int) -> None:
        if self._near >= 0:
            terminal.resize(self._near, rows, columns)
