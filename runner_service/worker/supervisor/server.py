"""The supervisor itself: answers the worker, and keeps every attempt until it is forgotten."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic_ns

from runner_service.domain import crashpoints
from runner_service.worker.supervisor import verdict, wire
from runner_service.worker.supervisor.attempt import Attempt
from runner_service.worker.supervisor.cells import Cells
from runner_service.worker.supervisor.connection import Listener
from runner_service.worker.supervisor.contained import ContainedAttempt
from runner_service.worker.supervisor.feed import records_of
from runner_service.worker.supervisor.journal import room
from runner_service.worker.supervisor.loop import MILLISECOND, SECOND, Loop, Timer
from runner_service.worker.supervisor.paths import Layout, valid_attempt_id
from runner_service.worker.supervisor.realm import Realm
from runner_service.worker.supervisor.reaper import Reaper
from runner_service.worker.supervisor.spools import Spools
from runner_service.worker.supervisor.tree import Tree
from runner_service.worker.supervisor.wire import Known, Message, Plan

TELL_NS = 2 * MILLISECOND
"""Between two words about growing output; the first after silence goes at once."""


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Supervisor:
    """Owns everything. One per directory; `serve` returns when it has nothing left to do.

    ``spool_limit`` is of all journals together: at the limit no pipe is read, so jobs that write wait (policy BLOCK).
    What is acknowledged does not count, even while it still takes room, a little over 1 MiB per live attempt: a limit
    must never stop jobs whose every byte is with the server.
    """

    def __init__(
        self, layout: Layout, *, boot_id: str, realm: Realm, cells: Cells | None, idle_exit_seconds: float,
        spool_limit: int,
    ) -> None:  # fmt: skip
        self._layout = layout
        self._boot_id = boot_id
        self._idle_ns = int(idle_exit_seconds * SECOND)
        self._spool_limit = spool_limit
        self._spools = Spools(layout, boot_id)
        self._loop = Loop()
        self._tree = Tree(realm)
        self._cells = cells
        self._live: dict[str, Attempt] = {}
        self._ended: dict[str, Known] = {}
        self._ended_bytes = 0
        self._spool_bytes = 0
        self._grown: set[Attempt] = set()
        self._fed: set[Attempt] = set()
        """Whose processes were given input in this turn."""
        self._told_ns = 0
        self._telling: Timer | None = None
        self._deadline: Timer | None = None
        self._deadline_passed = False
        """And nothing has been heard since: what is started now must not run."""
        self._idle: Timer | None = None
        self._stopping = False
        self._listener = Listener(self._loop, self._answer, self._look_for_idleness)
        self._reaper = Reaper(self._loop, self._tree, self._live)
        self._loop.on_signal(signal.SIGTERM, self._shutdown)
        self._loop.on_signal(signal.SIGINT, self._shutdown)
        self._loop.end_of_turn.append(self._end_of_turn)

    def adopt_spools(self, known: list[Known]) -> None:
        """Takes over what an earlier supervisor left, all of it ended."""
        for one in known:
            self._ended[one.attempt_id] = one
            self._ended_bytes += _taken(one)

    @property
    def spools(self) -> Spools:
        return self._spools

    def serve(self, socket_path: str, on_ready: Callable[[], None]) -> None:
        """Listens, and from then on is ready; returns after a shutdown or when idle for long enough."""
        self._listener.listen(socket_path)
        on_ready()
        self._remove_trash()
        self._look_for_idleness()
        self._loop.run()
        self._listener.close()

    # What attempts tell.

    def on_started(self, attempt: Attempt) -> None:
        self._listener.send(
            {"event": "started", "attempt_id": attempt.attempt_id, "at_us": attempt.started_us, "pid": attempt.pid}
        )

    def on_output(self, attempt: Attempt) -> None:
        self._grown.add(attempt)

    def on_input(self, attempt: Attempt) -> None:
        self._fed.add(attempt)

    def on_ended(self, attempt: Attempt) -> None:
        known = self._known(attempt)
        self._spools.finish(known)
        crashpoints.reached("supervisor.ended")
        del self._live[attempt.attempt_id]
        self._grown.discard(attempt)
        self._fed.discard(attempt)
        self._ended[known.attempt_id] = known
        self._ended_bytes += _taken(known)
        self._listener.send(
            {"event": "ended", "attempt_id": known.attempt_id, "outcome": known.outcome, "size": known.size,
             "seal": known.seal}
        )  # fmt: skip
        self._look_for_idleness()

    def may_read(self) -> bool:
        return self._spool_bytes < self._spool_limit

    # What the worker asks.

    def _answer(self, request: Message) -> Message:
        try:
            handler = self._HANDLERS[request["op"]]
            return handler(self, request) or {}
        except Refusal as refusal:
            return {"error": {"code": refusal.code, "message": refusal.message}}
        except (KeyError, TypeError, ValueError) as error:
            return {"error": {"code": wire.INVALID, "message": f"not a request of this protocol: {error!r}"}}

    def _hello(self, _request: Message) -> Message:
        self._grown.clear()
        attempts = [*self._ended.values(), *map(self._known, self._live.values())]
        return {
            "protocol": wire.PROTOCOL,
            "pid": os.getpid(),
            "guard_pid": os.getppid(),
            "boot_id": self._boot_id,
            "spool_id": self._spools.spool_id,
            "attempts": [attempt._asdict() for attempt in attempts],
        }

    def _start(self, request: Message) -> None:
        attempt_id, fence = request["attempt_id"], int(request["fence"])
        plan = Plan(**request["plan"])
        if not valid_attempt_id(attempt_id) or not plan.steps or not all(plan.steps):
            raise Refusal(wire.INVALID, "an attempt has an id of letters, digits, - and _, and steps with a command")
        earlier = self._live.get(attempt_id) or self._ended.get(attempt_id)
        if earlier is not None:
            if earlier.fence != fence:
                raise Refusal(wire.FENCE_MISMATCH, f"{attempt_id} is known with fence {earlier.fence}")
            return
        if self._stopping:
            raise Refusal(wire.STOPPING, "the supervisor is stopping")
        try:
            directory = plan.working_directory or self._spools.working_directory(attempt_id, plan.staged)
            journal = self._spools.create(attempt_id, fence, plan.log_limit_bytes)
        except OSError as error:
            self._start_failed(attempt_id, fence, error)
            return
        crashpoints.reached("supervisor.recorded")
        kind = ContainedAttempt if plan.container else Attempt
        attempt = kind(
            attempt_id, fence, plan, journal=journal, working_directory=directory, tree=self._tree,
            cells=None if plan.container else self._cells, loop=self._loop, owner=self,
        )  # fmt: skip
        if isinstance(attempt, ContainedAttempt):
            attempt.of(self._layout)
        self._live[attempt_id] = attempt
        self._look_for_idleness()
        if self._deadline_passed:
            attempt.kill("self_stop")
        else:
            attempt.run()

    def _start_failed(self, attempt_id: str, fence: int, error: OSError) -> None:
        """There is no room on the disk for as much as a spool: told, but not kept."""
        self._spools.delete(attempt_id)
        outcome = verdict.make("INFRASTRUCTURE", detail="prepare", message=str(error))
        seal = {"records": 0, "stdout_bytes": 0, "stderr_bytes": 0, "sha256": wire.EMPTY_SHA256}
        self._ended[attempt_id] = Known(attempt_id, fence, wire.ENDED, 0, 0, 0, outcome, seal)
        self._listener.send(
            {"event": "ended", "attempt_id": attempt_id, "outcome": outcome, "size": 0, "seal": seal}
        )  # fmt: skip

    def _kill(self, request: Message) -> None:
        attempt = self._live.get(request["attempt_id"])
        if attempt is not None:
            attempt.kill(str(request["cause"]), str(request.get("detail", "")))

    def _forget(self, request: Message) -> None:
        known = self._ended.pop(request["attempt_id"], None)
        if known is not None:
            crashpoints.reached("supervisor.told")
            self._ended_bytes -= _taken(known)
            if self._spools.delete(known.attempt_id, keep=known.keeps_directory):
                self._remove_trash()

    def _set_deadline(self, request: Message) -> None:
        at_ns = request["at_ns"]
        if request["attempt_id"] is None:
            for attempt in self._live.values():
                attempt.set_deadline(None)
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = None if at_ns is None else self._loop.call_at(int(at_ns), self._on_deadline)
            self._deadline_passed = at_ns is not None and int(at_ns) <= monotonic_ns()
        elif request["attempt_id"] in self._live:
            self._live[request["attempt_id"]].set_deadline(at_ns)

    def _acked(self, request: Message) -> None:
        attempt = self._live.get(request["attempt_id"])
        if attempt is not None:
            before = attempt.journal.base
            if attempt.journal.acknowledge(int(request["bytes"])):
                self._spools.base(attempt.attempt_id, attempt.journal.base)
                attempt.journal.give_back(before)

    def _input(self, request: Message) -> Message:
        attempt = self._live.get(request["attempt_id"])
        records = records_of(request["records"])
        return {"received": -1 if attempt is None else attempt.take_input(int(request["offset"]), records)}

    def _shut_down(self, _request: Message) -> None:
        self._shutdown()

    def _hurry(self, _request: Message) -> None:
        for attempt in list(self._live.values()):
            attempt.hurry()

    _HANDLERS = {  # noqa: RUF012
        "hello": _hello,
        "start": _start,
        "kill": _kill,
        "hurry": _hurry,
        "forget": _forget,
        "deadline": _set_deadline,
        "acked": _acked,
        "input": _input,
        "shutdown": _shut_down,
    }

    # What happens by itself.

    def _on_deadline(self) -> None:
        self._deadline, self._deadline_passed = None, True
        for attempt in list(self._live.values()):
            if attempt.deadline is None:
                attempt.kill("self_stop")

    def _shutdown(self) -> None:
        self._stopping = True
        for attempt in list(self._live.values()):
            attempt.kill("shutdown")
        self._look_for_idleness()

    def _look_for_idleness(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._live and self._stopping:
            self._loop.stop()
        elif not self._live and not self._listener.connected:
            self._idle = self._loop.call_at(monotonic_ns() + self._idle_ns, self._loop.stop)

    def _end_of_turn(self) -> None:
        if self._grown or self._spool_bytes >= self._spool_limit:
            live = sum(attempt.journal.size - attempt.journal.acknowledged for attempt in self._live.values())
            self._spool_bytes = live + self._ended_bytes
        if self._grown:
            self._tell_growth()
        if self._fed:
            self._listener.send({"event": "input", "written": {a.attempt_id: a.input_written for a in self._fed}})
            self._fed.clear()
        self._listener.flush()

    def _tell_growth(self) -> None:
        now = monotonic_ns()
        if now >= self._told_ns + TELL_NS and self._listener.ready_for_more:
            self._told_ns = now
            self._listener.send({"event": "output", "sizes": {a.attempt_id: a.journal.size for a in self._grown}})
            self._grown.clear()
        elif self._telling is None:
            self._telling = self._loop.call_at(now + TELL_NS, self._growth_is_due)

    def _growth_is_due(self) -> None:
        self._telling = None  # What has grown is told at the end of this turn.

    def _remove_trash(self) -> None:
        paths = self._spools.trash()
        if paths:
            try:
                self._tree.helpers.add(os.posix_spawnp("rm", ["rm", "-rf", "--", *paths], {"PATH": os.defpath}))
            except OSError:
                pass  # Tried again with the next one.

    def _known(self, attempt: Attempt) -> Known:
        return Known(
            attempt.attempt_id, attempt.fence, attempt.state, attempt.journal.size, attempt.started_us, attempt.pid,
            attempt.outcome, attempt.seal if attempt.outcome is not None else None,
            attempt.journal.base.offset, attempt.journal.base.records, attempt.input_received, attempt.input_written,
            attempt.plan.outputs, attempt.plan.cleanup,
        )  # fmt: skip


def _taken(ended: Known) -> int:
    """Bytes of disk that the journal of an ended attempt takes."""
    return ended.size - room(ended.base)
