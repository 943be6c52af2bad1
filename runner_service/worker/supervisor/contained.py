"""An attempt whose steps run in a container. Its only process here is the pilot, which has the attempt's files and
tells what the steps do; see `container`. Everything else, the journal above all, is as of any attempt.

::

    spawn pilot ── plan, step 0 ──► started ──► exited ── step 1 ──► … ── verdict, remove ──► gone

A pilot that dies without a word has left a container: another one is started to remove it. The attempt has ended only
when the container is gone, or there are survivors.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from time import monotonic_ns, time_ns

from runner_service.domain import crashpoints
from runner_service.worker.supervisor import verdict, wire
from runner_service.worker.supervisor.attempt import KILL_BUDGET_NS, LAST_ROUND_NS, Attempt
from runner_service.worker.supervisor.container.leftovers import write_note
from runner_service.worker.supervisor.container.protocol import pair
from runner_service.worker.supervisor.loop import Loop
from runner_service.worker.supervisor.paths import Layout
from runner_service.worker.supervisor.spawn import spawn
from runner_service.worker.supervisor.wire import Message

MOST_REMOVERS = 2
_PILOT = [sys.executable, "-I", "-S", f"{os.path.dirname(os.path.abspath(__file__))}/container/__main__.py"]  # noqa: PTH100, PTH120


class ContainedAttempt(Attempt):
    """A live attempt in a container. `of` comes before `run`."""

    _layout: Layout
    _owner_word = ""
    """By which its supervisor knows its containers."""
    _link: Link | None = None
    _made = False
    """The container's first process exists, and something of the job may."""
    _holder = 0
    """That process, if it is to be seen."""
    _pilot_pid = 0
    _removers = 0
    _removing = False
    """The pilot was told to remove the container."""
    _gone = False
    """And has."""
    _survivors = 0
    _told_end = False
    """A step has ended, so that the end of the last is known."""
    _peak = 0

    def of(self, layout: Layout) -> None:
        """Where its supervisor lives."""
        self._layout = layout

    def run(self) -> None:
        if not self.plan.container.get("engine"):
            message = "this runner runs no containers: start its worker where a Docker engine is"
            self._end(verdict.make("REFUSED", detail="CONTAINER", message=message), 0)
            return
        try:
            os.chmod(self._working_directory, 0o777)  # noqa: PTH101  For whom the image names; what is above is private.
            self._owner_word = write_note(self._layout.engine_note, self.plan.container["engine"]).owner
        except OSError as error:
            self._start_failed(error)
            return
        super().run()

    def main_exited(self, status: int, cpu_us: int, max_rss_kib: int) -> None:
        """The pilot was reaped."""
        self._main_lives = False
        if self._link is not None:
            self._link.close()
        if self._gone:
            return
        if self._verdict is None:
            message = "the process that accompanied the container was killed"
            self._end(verdict.make("INFRASTRUCTURE", detail="run", message=message, step=max(0, self._step)), 0)
        if self._removers < MOST_REMOVERS:
            self._removers += 1
            self._remove_anew()
        else:
            self._survivors = max(1, self._survivors)

    def look(self, members: Mapping[str, list[int]]) -> None:
        if not self.ending:
            return
        now = monotonic_ns()
        if not self._main_lives:
            self._finish(self._survivors)
            return
        if now < self._kill_at:
            pause = self._kill_at - now
        elif now < self._closing_until:
            self._pass_signal(signal.SIGKILL)
            pause = self._closing_until - now
        elif now < self._kill_at + KILL_BUDGET_NS:
            if not self._removing and self._link is not None:
                self._removing = True
                self._link.send({"op": "remove"})
            pause = LAST_ROUND_NS
        else:  # The engine does not end it, or does not answer.
            self._main_lives = False
            self._tree.signal((self._pilot_pid,), signal.SIGKILL)
            self._finish(max(1, self._survivors) if self._made else 0)
            return
        if self._round_timer is not None:
            self._round_timer.cancel()
        self._round_timer = self._loop.call_at(now + pause, self._look_again)

    def _next_step(self, step: int) -> None:
        assert self._stdio is not None
        self._begin_step(step)
        if not self._step:
            stdio = self._stdio
            try:
                self._launch(
                    lambda channel: stdio.spawn(_PILOT, self._pilots_environment(), "/", channel), remove_only=False
                )
            except verdict.Refused as error:
                self._end(verdict.make("INFRASTRUCTURE", detail="start", message=error.message), 0)
            except (OSError, ValueError) as error:
                self._start_failed(error)
            self._stdio.close_inner()
        if self._link is not None:
            self._link.send({"op": "step", "index": self._step})

    def _remove_anew(self) -> None:
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._launch(
                lambda channel: spawn(_PILOT, self._pilots_environment(), "/", (null, null), channel=channel),
                remove_only=True,
            )
        except (verdict.Refused, OSError):
            self._survivors = max(1, self._survivors)
        finally:
            os.close(null)

    def _launch(self, start: Callable[[int], int], *, remove_only: bool) -> None:
        ours, theirs = pair()
        try:
            self._pilot_pid = start(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(theirs)
        crashpoints.reached("supervisor.spawned")
        self._main_lives = True
        self._tree.main_started(self.attempt_id, self._pilot_pid)
        self._link = Link(self._loop, ours, self._on_message)
        plan = self.plan
        self._link.send(
            {
                "op": "plan",
                "order": plan.container,
                "attempt_id": self.attempt_id,
                "fence": self.fence,
                "owner": self._owner_word,
                "directory": self._layout.directory,
                "workspace": self._working_directory,
                "steps": plan.steps,
                "environment": plan.environment,
                "stdin": "NULL" if remove_only else plan.stdin,
                "terminal": plan.terminal,
                "made": self._made,
                "holder": self._holder,
                "remove_only": remove_only,
            }
        )

    def _pilots_environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "RUNNER_ATTEMPT_ID": self.attempt_id}

    def _on_message(self, message: Message) -> None:
        self._cpu_us = max(self._cpu_us, message.get("cpu_us", 0))
        self._peak = max(self._peak, message.get("peak_memory", 0))
        match message["event"]:
            case "made":
                self._made, self._holder = True, message["holder"]
                if self.plan.disk_bytes and message["layer"]:
                    self._watch_disk([self._working_directory, message["layer"]])
            case "started":
                self.pid = message["pid"]
                if self.state == wire.PREPARED:
                    self.state = wire.RUNNING
                    self.started_us = time_ns() // 1000
                    self._begun_ns = monotonic_ns()
                    self._owner.on_started(self)
            case "exited":
                self._ended_ns, self._told_end = monotonic_ns(), True
                self._step_exited(message["status"], message["oom"])
            case "failed":
                step = max(0, self._step)
                outcome = verdict.make(message["kind"], detail=message["detail"], message=message["message"], step=step)
                if step and message["kind"] == "REFUSED":
                    self._step_over(outcome, failed=True)
                else:
                    self._conclude(outcome)
            case "gone":
                self._gone = True
                if not self._told_end:
                    self._ended_ns = monotonic_ns()
                self._survivors = message["survivors"]

    def _step_exited(self, status: int, oom: str) -> None:
        ended = verdict.ended(status, self._step)
        outcome = verdict.make("OUT_OF_MEMORY", message=oom, step=self._step) if oom else ended
        self._codes[self._step] = verdict.code(status)
        self._step_over(outcome, failed=bool(status or oom))

    def _step_over(self, outcome: Message, *, failed: bool) -> None:
        if failed and self._failure is None:
            self._failure = outcome
        following = self.plan.after(self._step, failed=self._failure is not None)
        if self._verdict is not None:
            if not self._close():
                self._conclude(outcome)
        elif following >= 0:
            self._next_step(following)
        else:
            self._conclude(self._failure or outcome)

    def _conclude(self, outcome: Message) -> None:
        """It has ended by itself; or on the way to an end that was decided before, of which no more is to be waited
        for."""
        if self._verdict is None:
            self._end(outcome, 0)
        else:
            self.hurry()

    def _ask_to_end(self) -> None:
        if self._link is not None:
            self._link.send({"op": "term", "hangup": self._stdio is not None and self._stdio.on_terminal})

    def _divert(self) -> Callable[[int], None]:
        return self._pass_signal

    def _pass_signal(self, number: int) -> None:
        if self._link is not None:
            self._link.send({"op": "signal", "number": number})

    def _peak_memory(self) -> int:
        return self._peak


class Link:
    """The supervisor's end of the channel to a pilot. Neither side waits for the other."""

    __slots__ = ("_incoming", "_loop", "_on_message", "_outgoing", "_socket")

    def __init__(self, loop: Loop, sock: socket.socket, on_message: Callable[[Message], None]) -> None:
        self._loop = loop
        self._socket: socket.socket | None = sock
        self._on_message = on_message
        self._incoming = bytearray()
        self._outgoing = bytearray()
        loop.add(sock.fileno(), select.EPOLLIN, self._on_ready)

    def send(self, message: Message) -> None:
        """To a pilot that has ended: nothing."""
        if self._socket is not None:
            self._outgoing += wire.pack(message)
            self._flush()

    def close(self) -> None:
        """After what it had said was heard. The pilot has ended."""
        while self._socket is not None and self._receive():
            pass
        self._drop()

    def _on_ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._flush()
        if mask & ~select.EPOLLOUT and not self._receive() and mask & (select.EPOLLHUP | select.EPOLLERR):
            self._drop()

    def _receive(self) -> bool:
        if self._socket is None:
            return False
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            return False
        self._incoming += data
        for message in wire.unpack(self._incoming):
            self._on_message(message)
        return bool(data)

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()
        events = select.EPOLLIN | (select.EPOLLOUT if self._outgoing else 0)
        self._loop.modify(self._socket.fileno(), events)

    def _drop(self) -> None:
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None
