"""One attempt: its steps, its timeout, and its end.

::

    PREPARED ── first process exists ──► RUNNING ── verdict ──► (ending) ── nothing lives ──► ENDED

The *verdict* is the outcome, fixed by whatever ended the attempt first: the last or a failing step, a refused start,
the timeout, a kill. From then on the tree is made empty: after a kill or timeout by TERM and, after the grace, KILL;
after an exit by itself what is left over gets `LINGER_NS` to finish (a ``tee`` behind the shell) and then KILL. Nothing
ever waits for the end of a pipe: when the tree is empty what is in the pipes is read, and the journal is sealed.

Steps that always run do so within the grace of an attempt that is being ended, too. The step that runs then has half of
it to end by itself; one that always runs is not even asked to.

Background processes of one step live on in the next, as do the two pipes: the tree is swept after the last.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from time import monotonic_ns, time_ns
from typing import Protocol

from runner_service.domain import crashpoints
from runner_service.domain.inputs import InputRecord
from runner_service.worker.supervisor import verdict, wire
from runner_service.worker.supervisor.cells import Cells
from runner_service.worker.supervisor.confinement import Confinement
from runner_service.worker.supervisor.disk import DiskWatch
from runner_service.worker.supervisor.journal import Journal
from runner_service.worker.supervisor.loop import MILLISECOND, SECOND, Loop, Timer
from runner_service.worker.supervisor.pipes import RETRY_NS
from runner_service.worker.supervisor.silence import Silence
from runner_service.worker.supervisor.stdio import Stdio
from runner_service.worker.supervisor.tree import Tree
from runner_service.worker.supervisor.wire import Message, Plan

LINGER_NS = 100 * MILLISECOND
KILL_BUDGET_NS = 10 * SECOND
"""After the first KILL; then what still lives is counted as survivors. A process in an uninterruptible wait can."""
HURRIED_GRACE_NS = 5 * SECOND
"""Between TERM and KILL, at most, for what has to be dead before the server acts: half of its kill budget."""
FIRST_ROUND_NS = 2 * MILLISECOND
LAST_ROUND_NS = 50 * MILLISECOND
"""Between two looks at a tree that is being ended; most ends are noticed by SIGCHLD before."""


class Owner(Protocol):
    """What an attempt tells its supervisor."""

    def on_started(self, attempt: Attempt) -> None: ...
    def on_output(self, attempt: Attempt) -> None: ...
    def on_input(self, attempt: Attempt) -> None: ...
    def on_ended(self, attempt: Attempt) -> None: ...
    def may_read(self) -> bool: ...


class Attempt:
    """A live attempt. Its directories exist; `run` starts the first step."""

    def __init__(
        self, attempt_id: str, fence: int, plan: Plan, *, journal: Journal, working_directory: str, tree: Tree,
        cells: Cells | None, loop: Loop, owner: Owner,
    ) -> None:  # fmt: skip
        self.attempt_id = attempt_id
        self.fence = fence
        self.plan = plan
        self.journal = journal
        self.state = wire.PREPARED
        self.pid = 0
        """Of the newest step's main process."""
        self.started_us = 0
        self.deadline: Timer | None = None
        """Its own self-stop deadline."""
        self.outcome: Message | None = None
        self.seal: Message | None = None
        self._working_directory = working_directory
        self._tree = tree
        self._confinement = Confinement(cells, attempt_id, plan)
        self._loop = loop
        self._owner = owner
        self._verdict: Message | None = None
        self._failure: Message | None = None
        """What the first step that failed ended in, while others still run because they always do."""
        self._step = -1
        self._codes: dict[int, int] = {}
        """How steps ended, as `verdict.code` has it."""
        self._closing_until = 0
        """While it is being ended: until then a step that always runs may follow. 0: none may."""
        self._main_lives = False
        self._stdio: Stdio | None = None
        self._timeout: Timer | None = None
        self._silence = Silence(loop, plan.idle_seconds, self._may_be_silent, self._on_silent)
        self._disk: DiskWatch | None = None
        self._round_timer: Timer | None = None
        self._kill_at = 0
        self._rounds = 0
        self._begun_ns = 0
        self._ended_ns = 0
        self._cpu_us = 0
        self._max_rss_kib = 0

    @property
    def ending(self) -> bool:
        return self._verdict is not None and self.state != wire.ENDED

    def run(self) -> None:
        self._begun_ns = self._ended_ns = monotonic_ns()
        try:
            self._stdio = stdio = Stdio.open(
                self.plan, self._loop, self.journal, on_output=self._on_output, may_read=self._may_read,
                on_written=self._on_input, group=self._main_group, divert=self._divert(),
            )  # fmt: skip
        except OSError as error:
            self._start_failed(error)
            return
        self._tree.begin(self.attempt_id, [self._working_directory, *stdio.names], self._confinement.cell)
        timeout_ns = int(self.plan.timeout_seconds * SECOND)
        self._timeout = self._loop.call_at(self._begun_ns + timeout_ns, self._on_timeout)
        self._silence.begin()
        if self.plan.disk_bytes and not self.plan.working_directory:
            self._watch_disk([self._working_directory])
        self._next_step(0)

    def main_exited(self, status: int, cpu_us: int, max_rss_kib: int) -> None:
        """The main process of the step was reaped. `look` must follow."""
        self._main_lives = False
        self._ended_ns = monotonic_ns()
        self.add_usage(cpu_us, max_rss_kib)
        self._codes[self._step] = verdict.code(status)
        if self._verdict is not None:
            return
        if status != 0 and (message := self._confinement.out_of_memory()):
            self._step_ended(verdict.make("OUT_OF_MEMORY", message=message, step=self._step), 0)
        else:
            self._step_ended(verdict.ended(status, self._step), LINGER_NS, failed=status != 0)

    def _step_ended(self, outcome: Message, linger_ns: int, *, failed: bool = True) -> None:
        """Goes on to the step that is next, or ends with the outcome of the one that failed first."""
        if failed and self._failure is None:
            self._failure = outcome
        following = self.plan.after(self._step, failed=self._failure is not None)
        if following >= 0:
            self._next_step(following)
        else:
            self._end(self._failure or outcome, self._ended_ns + linger_ns)

    def add_usage(self, cpu_us: int, max_rss_kib: int) -> None:
        """What a process of this attempt had used when it was reaped."""
        self._cpu_us += cpu_us
        self._max_rss_kib = max(self._max_rss_kib, max_rss_kib)

    def kill(self, cause: str, detail: str = "") -> None:
        """Ends the attempt. The first verdict holds: again, or after its end, changes nothing."""
        # Somebody else may get the job, and counts on this one's end.
        grace_ns = HURRIED_GRACE_NS if cause in ("self_stop", "stale") else None
        self._terminate(verdict.killed(cause, detail, max(0, self._step)), grace_ns)

    def hurry(self) -> None:
        """The grace is over, if the attempt is being ended."""
        if self.ending:
            self._closing_until = 0
            self._kill_at = min(self._kill_at, monotonic_ns())
            self._look_again()

    def set_deadline(self, at_ns: int | None) -> None:
        """Its own self-stop deadline, or none."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = None if at_ns is None else self._loop.call_at(at_ns, lambda: self.kill("self_stop"))

    @property
    def input_received(self) -> int:
        """The place behind the input that is here; -1 when it takes none."""
        return -1 if self._stdio is None or self._stdio.feed is None else self._stdio.feed.received

    @property
    def input_written(self) -> int:
        """The place behind what the processes were given."""
        return 0 if self._stdio is None or self._stdio.feed is None else self._stdio.feed.written

    def take_input(self, offset: int, records: Sequence[InputRecord]) -> int:
        """Gives input to the processes; returns the place behind what is here then."""
        if self._stdio is None or self._stdio.feed is None:
            return -1
        return self._stdio.feed.take(offset, records)

    def look(self, members: Mapping[str, list[int]]) -> None:
        """Drives the end on, given who lives now."""
        if not self.ending:
            return
        alive = members.get(self.attempt_id, [])
        if not alive and not self._main_lives:
            if not self._close():
                self._finish(0)
            return
        now = monotonic_ns()
        if now < self._kill_at:
            pause = min(LAST_ROUND_NS, self._kill_at - now)
        elif now < self._closing_until:  # The step has to go, and what follows it still has to fork.
            self._tree.signal(alive, signal.SIGKILL)
            pause = LAST_ROUND_NS
        elif now < self._kill_at + KILL_BUDGET_NS:
            self._tree.kill(self.attempt_id, alive, self._rounds)
            pause = min(FIRST_ROUND_NS << min(self._rounds, 10), LAST_ROUND_NS)
            self._rounds += 1
        else:
            self._finish(len(alive))
            return
        if self._round_timer is not None:
            self._round_timer.cancel()
        self._round_timer = self._loop.call_at(now + pause, self._look_again)

    def _look_again(self) -> None:
        self.look(self._tree.members((self.attempt_id,)))

    def _close(self) -> bool:
        """Starts what always runs, while it may; False when nothing does."""
        following = self.plan.after(self._step, failed=True)
        if following < 0 or monotonic_ns() >= self._closing_until:
            return False
        self._kill_at = self._closing_until
        self._next_step(following)
        self._look_soon()
        return True

    def _begin_step(self, step: int) -> None:
        assert self._stdio is not None
        before, self._step = self._step, step
        if step:
            self._stdio.catch_up()
            self.journal.begin_step(step, self._codes.get(before, 0))

    def _next_step(self, step: int) -> None:
        assert self._stdio is not None
        stdio = self._stdio
        self._begin_step(step)
        try:
            argv = self.plan.steps[self._step]
            self.pid = self._confinement.spawn(
                lambda: stdio.spawn(argv, self.plan.environment, self._working_directory)
            )
        except verdict.Refused as error:
            if self._verdict is not None:
                self._look_soon()
            elif step and self.plan.always:
                self._step_ended(verdict.refused(error, step), 0)
            else:
                self._end(verdict.refused(error, step), 0)
        except (OSError, ValueError) as error:
            self._start_failed(error)
        else:
            crashpoints.reached("supervisor.spawned")
            self._main_lives = True
            self._tree.main_started(self.attempt_id, self.pid)
            if self._step == 0:
                self.state = wire.RUNNING
                self.started_us = time_ns() // 1000
                self._owner.on_started(self)
        if self.plan.after(self._step, failed=self._verdict is not None) < 0:
            self._stdio.close_inner()

    def _start_failed(self, error: OSError | ValueError) -> None:
        if self._verdict is not None:
            self._look_soon()
            return
        self._end(verdict.make("INFRASTRUCTURE", detail="start", message=str(error), step=max(0, self._step)), 0)

    def _on_timeout(self) -> None:
        seconds = f"{self.plan.timeout_seconds:g}"
        self._terminate(
            verdict.make("TIMED_OUT", detail="run", message=f"ran longer than {seconds} s", step=self._step)
        )

    def _may_be_silent(self) -> bool:
        return self.state == wire.PREPARED  # An image that is being pulled says nothing.

    def _on_silent(self) -> None:
        message = f"wrote nothing for {self.plan.idle_seconds:g} s"
        self._terminate(verdict.make("TIMED_OUT", detail="idle", message=message, step=self._step))

    def _watch_disk(self, places: list[str]) -> None:
        if self._disk is not None:
            self._disk.stop()
        self._disk = DiskWatch(self._loop, self._tree.helpers, places, self.plan.disk_bytes, self._on_disk_over)

    def _on_disk_over(self) -> None:
        message = f"it had more than {self.plan.disk_bytes} bytes on disk"
        self._terminate(verdict.make("OUT_OF_DISK", message=message, step=max(0, self._step)))

    def _may_read(self) -> bool:
        self._silence.heard()
        if self._owner.may_read() and not self.journal.stuck:
            return True
        if self.plan.spool_policy == "DROP_MIDDLE":
            self.journal.cut()
            return True
        if self.plan.spool_policy == "FAIL":
            message = "the spool of the runner is full"
            self._terminate(verdict.make("INFRASTRUCTURE", detail="spool_full", message=message, step=self._step))
        self._silence.hold_up()
        return False

    def _on_output(self) -> None:
        crashpoints.reached("supervisor.written")
        self._owner.on_output(self)

    def _on_input(self) -> None:
        self._owner.on_input(self)

    def _main_group(self) -> int:
        """The step's process group, which its main process leads; 0 when that has ended."""
        return self.pid if self._main_lives else 0

    def _terminate(self, outcome: Message, most_grace_ns: int | None = None) -> None:
        if self._verdict is not None or self.state == wire.ENDED:
            return
        grace_ns = int(self.plan.kill_grace_seconds * SECOND)
        if most_grace_ns is not None:
            grace_ns = min(grace_ns, most_grace_ns)
        now = monotonic_ns()
        kill_at = now + grace_ns
        if most_grace_ns is None and self._step in self.plan.always:
            self._closing_until = kill_at
        else:
            if most_grace_ns is None and self.plan.after(self._step, failed=True) >= 0:
                self._closing_until, kill_at = kill_at, now + grace_ns // 2
            self._ask_to_end()
        self._end(outcome, kill_at)
        self._look_again()

    def _ask_to_end(self) -> None:
        alive = self._tree.members((self.attempt_id,)).get(self.attempt_id, [])
        if self._stdio is not None and self._stdio.on_terminal:
            self._tree.signal(alive, signal.SIGHUP)  # An interactive shell passes over TERM.
        self._tree.signal(alive, signal.SIGTERM)
        self._tree.signal(alive, signal.SIGCONT)  # What is stopped hears TERM only when it goes on.

    def _divert(self) -> Callable[[int], None] | None:
        """Who gets the signals of the input, if not the step's process group."""
        return None

    def _unenforced(self) -> list[str]:
        """Limits that nothing here can hold."""
        # What stands in a directory that others use too is nobody's.
        disk = ["disk"] if self.plan.disk_bytes and self._disk is None and self.started_us else []
        return [*self._confinement.unenforced, *disk]

    def _peak_memory(self) -> int:
        return self._confinement.peak_memory()

    def _end(self, outcome: Message, kill_at: int) -> None:
        self._verdict = outcome
        self._kill_at = max(kill_at, monotonic_ns())
        self._look_soon()

    def _look_soon(self) -> None:
        """Never from within the caller: a start is answered before its end is told."""
        if self._round_timer is not None:
            self._round_timer.cancel()
        self._round_timer = self._loop.call_at(0, self._look_again)

    def _finish(self, survivors: int) -> None:
        """Nothing of it lives, or what does cannot be ended."""
        assert self._verdict is not None
        if survivors:
            self._verdict = verdict.outlived(self._verdict, survivors)
        for timer in (self._timeout, self._round_timer, self.deadline):
            if timer is not None:
                timer.cancel()
        self._silence.stop()
        if self._disk is not None:
            self._disk.stop()
        if self._stdio is not None:
            self._stdio.drain()
        if self.seal is None:
            self.seal = self.journal.seal()
        if not self.journal.flush():  # The disk is full. Nothing runs any more, so this can wait for room.
            self._round_timer = self._loop.call_later(RETRY_NS, lambda: self._finish(survivors))
            return
        self.journal.close()
        if self._stdio is not None:
            self._stdio.close()
        self.outcome = self._verdict
        self.outcome["survivors"] = survivors
        self.outcome["usage"] = verdict.usage(
            self._ended_ns - self._begun_ns, self._cpu_us, self._max_rss_kib, self._peak_memory()
        )
        if len(self.plan.steps) > 1:
            self.outcome["step_codes"] = [self._codes.get(step, -1) for step in range(len(self.plan.steps))]
        if unenforced := self._unenforced():
            self.outcome["unenforced_limits"] = unenforced
        self.state = wire.ENDED
        self._tree.end(self.attempt_id)
        self._confinement.end()
        self._owner.on_ended(self)
