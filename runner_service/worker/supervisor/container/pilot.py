"""What a pilot does: the steps of an attempt in a container, one after the other, as its supervisor says.

Whatever happens, the last thing it does is to remove the container and to say whether it could.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import tty
from time import monotonic, sleep

from runner_service.worker.supervisor.container import processes
from runner_service.worker.supervisor.container.box import Box
from runner_service.worker.supervisor.container.engine import EngineAway, EngineRefused
from runner_service.worker.supervisor.container.failures import Failed, failure_of
from runner_service.worker.supervisor.container.protocol import Channel, SupervisorGone
from runner_service.worker.supervisor.container.streams import STDERR, STDIN, STDOUT, Streams
from runner_service.worker.supervisor.wire import Message

LINGER_SECONDS = 0.1
"""After the end of a step's process, for what still writes (a ``tee`` behind the shell)."""
LAST_WORDS_SECONDS = 2.0
"""For what a container that was ended had written."""
LOOK_SECONDS = 0.2
"""Between two questions to the engine where the process itself is not to be seen."""
TOLD_SECONDS = 2.0
"""An engine knows of an end so long after the kernel at most."""


class Removed(Exception):
    """The supervisor wants the container removed."""


class Step:
    """One process of the job, in the container."""

    __slots__ = ("execution", "pidfd", "stopped")

    def __init__(self, execution: str, pid: int) -> None:
        self.execution = execution
        self.pidfd = processes.watch(pid)
        self.stopped = False
        """The supervisor has asked it to end."""


class Pilot:
    """The pilot of one attempt, from its plan to its exit."""

    def __init__(self, channel: Channel, plan: Message) -> None:
        self._channel = channel
        self._box = Box(plan)
        self._terminal = plan["stdin"] == "PTY"
        self._input = plan["stdin"] != "NULL"
        self._step: Step | None = None
        self._streams: list[Streams] = []
        """Of the newest step first; those of earlier ones live on as long as somebody writes to them."""
        self._wakeup, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Until the container is gone."""
        try:
            self._prepare_files()
            while True:
                message = self._channel.receive()
                if message["op"] == "step":
                    self._run_step(int(message["index"]))
                else:
                    self._heed(message)
        except (Removed, SupervisorGone):
            pass
        except Exception as error:  # A fault of this program: told, because its standard error is the job's.
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            line = where.tb_lineno if where is not None else 0
            fault = f"a fault of the pilot, at {line}: {error!r}"
            self._tell("failed", kind="INFRASTRUCTURE", detail="run", message=fault)
        self.remove()

    def remove(self) -> None:
        """Ends whatever runs in the container, removes it, and tells."""
        usage = self._box.usage()
        survivors = self._box.remove()
        self._last_words()
        self._tell("gone", survivors=survivors, **usage)

    # The steps.

    def _run_step(self, index: int) -> None:
        try:
            if not index:
                self._box.make(self._look_at_orders, self._look_while_pulling)
                self._channel.send("made", holder=self._box.holder, layer=self._box.layer)
            self._execute(index)
        except Failed as failed:
            self._channel.send("failed", kind=failed.kind, detail=failed.detail, message=failed.message)
        except (EngineAway, EngineRefused) as error:
            fault = failure_of(error, "run" if index or self._step is not None else "prepare")
            self._channel.send("failed", kind=fault.kind, detail=fault.detail, message=fault.message)

    def _execute(self, index: int) -> None:
        self._look_at_orders()
        execution, connection, first = self._box.execute(index)
        streams = Streams(connection, first, terminal=self._terminal)
        pid = self._box.birth(execution, streams.take_all, self._look_at_orders)
        self._step = Step(execution, pid)
        self._streams.insert(0, streams)
        self._resize()
        self._channel.send("started", pid=pid)
        self._accompany(self._step, streams)

    def _accompany(self, step: Step, newest: Streams) -> None:
        """Until the step has ended, and what it wrote was passed on."""
        status: int | None = None
        ended_at = 0.0
        while status is None or not (
            newest.drained and (newest.ended or monotonic() >= ended_at + LINGER_SECONDS)
        ):  # fmt: skip
            self._turn(step, newest, LINGER_SECONDS if status is not None else None)
            if status is None and (status := self._status(step, newest)) is not None:
                ended_at = monotonic()
                newest.move()
        if step.pidfd >= 0:
            os.close(step.pidfd)
        oom = self._box.why_it_failed(asked=step.stopped) if status else ""
        self._step = None
        self._channel.send("exited", status=status, oom=oom, **self._box.usage())

    def _turn(self, step: Step, newest: Streams, timeout: float | None) -> None:
        """Waits for something to happen, and passes on what came."""
        wanted = {self._channel.fileno(): select.POLLIN, self._wakeup: select.POLLIN, **self._interests()}
        if self._input and newest.wants_input:
            wanted[STDIN] = select.POLLIN
        if timeout is None and step.pidfd >= 0:
            wanted[step.pidfd] = select.POLLIN
        if timeout is None and (step.pidfd < 0 or newest.ended):
            timeout = LOOK_SECONDS
        ready = _wait(wanted, timeout)
        if self._channel.fileno() in ready:
            self._look_at_orders()
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
            self._resize()
        if STDIN in ready and STDIN in wanted:
            self._read_input(newest)
        for streams in list(self._streams):
            streams.move()
            if streams.ended and streams.drained and streams is not newest:
                self._streams.remove(streams)

    def _status(self, step: Step, newest: Streams) -> int | None:
        """How it ended, if it has."""
        if step.pidfd < 0:
            return self._box.exit_status(step.execution)
        if not _wait({step.pidfd: select.POLLIN}, 0):
            if newest.ended:
                self._box.exit_status(step.execution)  # It closed its outputs; or the engine is away, and this says so.
            return None
        status = processes.wait_status(step.pidfd)
        deadline = monotonic() + TOLD_SECONDS
        while status is None and monotonic() < deadline:
            told = self._box.exit_status(step.execution)
            if told is None:
                sleep(0.005)
                continue
            # Once the parent has reaped it the kernel says it, more exactly; the engine has heard of it from there.
            status = processes.wait_status(step.pidfd)
            if status is None:
                status = told
        return status

    # What the supervisor, and the terminal, want.

    def _look_at_orders(self) -> None:
        for message in self._channel.receive_now():
            self._heed(message)

    def _look_while_pulling(self, fd: int) -> None:
        """Until the engine says more."""
        while True:
            ready = _wait({fd: select.POLLIN, self._channel.fileno(): select.POLLIN}, None)
            if self._channel.fileno() in ready:
                self._look_at_orders()
            if fd in ready:
                return

    def _heed(self, message: Message) -> None:
        step = self._step
        match message["op"]:
            case "remove":
                raise Removed
            case "term" if step is None:
                raise Removed
            case "term" if step is not None:
                step.stopped = True
                numbers = [signal.SIGHUP] if message["hangup"] else []
                for number in (*numbers, signal.SIGTERM, signal.SIGCONT):
                    self._box.signal(number)
            case "signal" if step is not None:
                self._box.signal(int(message["number"]))

    def _prepare_files(self) -> None:
        for fd in (STDOUT, STDERR, *((STDIN,) if self._input else ())):
            os.set_blocking(fd, False)
        if self._terminal:
            tty.setraw(STDIN)
            signal.signal(signal.SIGWINCH, lambda *_: None)
            signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)

    def _resize(self) -> None:
        """Gives the terminal in the container the size of ours."""
        if self._step is None or not self._terminal:
            return
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(STDIN, termios.TIOCGWINSZ, bytes(8)))
        try:
            self._box.resize(self._step.execution, rows, columns)
        except (EngineAway, EngineRefused):
            pass  # It has just ended.

    def _read_input(self, newest: Streams) -> None:
        try:
            data = os.read(STDIN, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._input = bool(data)
        newest.give(data)

    def _last_words(self) -> None:
        """Passes on what the container had written before it was ended."""
        deadline = monotonic() + LAST_WORDS_SECONDS
        while monotonic() < deadline:
            for streams in self._streams:
                streams.move()
            self._streams = [one for one in self._streams if not (one.ended and one.drained)]
            if not self._streams:
                break
            _wait(self._interests(), max(0.0, deadline - monotonic()))

    def _interests(self) -> dict[int, int]:
        """What all streams wait for."""
        wanted: dict[int, int] = {}
        for streams in self._streams:
            for fd, events in streams.interests().items():
                wanted[fd] = wanted.get(fd, 0) | events
        return wanted

    def _tell(self, event: str, **facts: object) -> None:
        try:
            self._channel.send(event, **facts)
        except SupervisorGone:
            pass


def _wait(wanted: dict[int, int], seconds: float | None) -> dict[int, int]:
    """Which of these files are ready, and for what."""
    poll = select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll(None if seconds is None else seconds * 1000))
