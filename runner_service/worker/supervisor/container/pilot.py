"""The life of a container: made at the first step, one execution in it per step, removed at the end.

Whatever happens, the last thing a pilot does is to remove the container and to say whether it could.
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

from runner_service.worker.supervisor.container import holder, image, order, processes
from runner_service.worker.supervisor.container.engine import Engine, EngineAway, EngineRefused
from runner_service.worker.supervisor.container.failures import Failed, failure_of, refusal_of
from runner_service.worker.supervisor.container.order import Order
from runner_service.worker.supervisor.container.processes import Group
from runner_service.worker.supervisor.container.protocol import Channel, SupervisorGone
from runner_service.worker.supervisor.container.streams import STDIN, STDOUT, Streams
from runner_service.worker.supervisor.wire import Message

LINGER_SECONDS = 0.1
"""After the end of a step's process, for what still writes (a ``tee`` behind the shell)."""
LAST_WORDS_SECONDS = 2.0
"""For what a container that was ended had written."""
REMOVE_SECONDS = 8.0
"""Within the supervisor's budget for a kill."""
LOOK_SECONDS = 0.2
"""Between two questions to the engine where the process itself is not to be seen."""
BIRTH_SECONDS = 60.0


class Removed(Exception):
    """The supervisor wants the container removed."""


class Step:
    """One process of the job, in the container."""

    __slots__ = ("execution", "pid", "pidfd", "stopped")

    def __init__(self, execution: str, pid: int) -> None:
        self.execution = execution
        self.pid = pid
        self.pidfd = processes.watch(pid)
        self.stopped = False
        """TERM has been sent by the supervisor."""


class Pilot:
    """The pilot of one attempt, from its plan to its exit."""

    def __init__(self, channel: Channel, plan: Message) -> None:
        self._channel = channel
        self._plan = plan
        self._order = Order(**plan["order"])
        self._engine = Engine(self._order.engine)
        self._name = order.container_name(plan["attempt_id"])
        self._terminal = plan["stdin"] == "PTY"
        self._input = plan["stdin"] != "NULL"
        self._own_command: list[str] = []
        """The image's."""
        self._holder = 0
        self._group: Group | None = None
        self._step: Step | None = None
        self._streams: list[Streams] = []
        """Of the newest step first; those of earlier ones live on as long as somebody writes to them."""
        self._oom_kills = 0
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
            self._tell(
                "failed", kind="INFRASTRUCTURE", detail="run", message=f"a fault of the pilot, {line}: {error!r}"
            )
        self.remove()

    def remove(self) -> None:
        """Ends whatever runs in the container, removes it, and tells."""
        usage = self._usage()
        survivors = self._remove()
        self._last_words()
        self._tell("gone", survivors=survivors, **usage)

    def _remove(self) -> int:
        """Returns how many processes may be left."""
        deadline = monotonic() + REMOVE_SECONDS
        while True:
            try:
                self._engine.call("DELETE", f"/containers/{self._name}?force=1&v=1", timeout=REMOVE_SECONDS)
                break
            except EngineRefused as error:
                if error.status == 404:
                    break
            except EngineAway:
                self._kill_all()  # Its record is removed by whoever looks for leftovers next.
                if self._holder and not _lives(self._holder):
                    break
                if not self._holder and self._group is None:
                    break  # Nothing was made, or nothing that is known of: the engine never answered.
            if monotonic() > deadline:
                self._kill_all()
                return max(1, len(self._group.pids()) if self._group else 1)
            sleep(0.1)
        return 0

    # The steps.

    def _run_step(self, index: int) -> None:
        try:
            if not index:
                self._create()
            self._execute(index)
        except Failed as failed:
            self._channel.send("failed", kind=failed.kind, detail=failed.detail, message=failed.message)
        except (EngineAway, EngineRefused) as error:
            fault = failure_of(error, "prepare" if not index and self._step is None else "run")
            self._channel.send("failed", kind=fault.kind, detail=fault.detail, message=fault.message)

    def _create(self) -> None:
        plan = self._plan
        found = image.ensure(self._engine, self._order, self._look_while_pulling)
        self._own_command = [*(found.get("Entrypoint") or ()), *(found.get("Cmd") or ())]
        try:
            path = holder.install(plan["directory"])
        except (OSError, KeyError) as error:
            raise Failed("INFRASTRUCTURE", "prepare", f"the holder of containers cannot be made: {error}") from None
        body = order.creation(
            self._order, attempt_id=plan["attempt_id"], fence=plan["fence"], owner=plan["owner"],
            directory=plan["directory"], workspace=plan["workspace"], holder=path,
        )  # fmt: skip
        self._look_at_orders()
        try:
            self._engine.call("POST", f"/containers/create?name={self._name}", body)
            self._engine.call("POST", f"/containers/{self._name}/start")
        except EngineRefused as error:
            raise refusal_of(error) from None
        state = self._engine.call("GET", f"/containers/{self._name}/json")["State"]
        self._holder = int(state["Pid"])
        self._group = Group(self._holder)

    def _execute(self, index: int) -> None:
        argv = self._plan["steps"][index]
        if argv == [""]:
            argv = self._own_command
            if not argv:
                raise Failed("REFUSED", "COMMAND_NOT_FOUND", f"the image {self._order.image} has no command of its own")
        self._look_at_orders()
        body = order.execution(self._order, argv, self._plan["environment"], stdin=self._plan["stdin"])
        execution = self._engine.call("POST", f"/containers/{self._name}/exec", body)["Id"]
        start = {"Detach": False, "Tty": self._terminal}
        try:
            connection, first = self._engine.hijack(f"/exec/{execution}/start", start)
        except EngineRefused as error:  # Newer engines say before the streams what stands in the way.
            raise refusal_of(error) from None
        streams = Streams(connection, first, terminal=self._terminal)
        pid = self._birth(execution, streams)
        self._step = Step(execution, pid)
        self._streams.insert(0, streams)
        if self._terminal:
            self._resize()
        self._channel.send("started", pid=pid)
        self._accompany(self._step)

    def _birth(self, execution: str, streams: Streams) -> int:
        """The process of an execution on this machine. Raises `Failed` when there will be none."""
        deadline = monotonic() + BIRTH_SECONDS
        while monotonic() < deadline:
            found = self._engine.call("GET", f"/exec/{execution}/json")
            if found.get("Pid"):
                return int(found["Pid"])
            if not found.get("Running") and found.get("ExitCode") is not None:
                raise refusal_of(EngineRefused(400, streams.take_all().decode("utf-8", "replace").strip()))
            sleep(0.001)
        raise EngineAway("it does not start the process")

    def _accompany(self, step: Step) -> None:
        """Until the step has ended, and what it wrote was passed on."""
        status: int | None = None
        ended_at = 0.0
        newest = self._streams[0]
        while True:
            if status is not None and newest.drained and (newest.ended or monotonic() >= ended_at + LINGER_SECONDS):
                break
            self._turn(LINGER_SECONDS if status is not None else LOOK_SECONDS if step.pidfd < 0 else None, step)
            if status is None:
                status = self._status(step)
                if status is not None:
                    ended_at = monotonic()
                    newest.move()
        if step.pidfd >= 0:
            os.close(step.pidfd)
        self._step = None
        self._tell_end(step, status)

    def _turn(self, timeout: float | None, step: Step) -> None:
        """Waits for something to happen, and passes on what came."""
        poll = select.poll()
        wanted = {self._channel.fileno(): select.POLLIN, self._wakeup: select.POLLIN, **self._interests()}
        newest = self._streams[0]
        if self._input and newest.wants_input:
            wanted[STDIN] = select.POLLIN
        if step.pidfd >= 0 and not _readable(step.pidfd):
            wanted[step.pidfd] = select.POLLIN
        if newest.ended:
            timeout = LOOK_SECONDS if timeout is None else timeout
        for fd, events in wanted.items():
            poll.register(fd, events)
        ready = dict(poll.poll(None if timeout is None else timeout * 1000))
        if self._channel.fileno() in ready:
            for message in self._channel.receive_now():
                self._heed(message)
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
            self._resize()
        if ready.get(STDIN, 0) and STDIN in wanted:
            self._read_input(newest)
        for streams in list(self._streams):
            streams.move()
            if streams.ended and streams.drained and streams is not newest:
                self._streams.remove(streams)

    def _status(self, step: Step) -> int | None:
        """How it ended, if it has."""
        if step.pidfd >= 0:
            if not _readable(step.pidfd):
                if self._streams[0].ended:
                    self._engine.call(
                        "GET", f"/exec/{step.execution}/json"
                    )  # It closed its outputs, or the engine is away.
                return None
            exact = processes.wait_status(step.pidfd)
            if exact is not None:
                return exact
        deadline = monotonic() + LOOK_SECONDS * 10
        while True:
            found = self._engine.call("GET", f"/exec/{step.execution}/json")
            if not found.get("Running") and found.get("ExitCode") is not None:
                return processes.status_of(int(found["ExitCode"]))
            if step.pidfd < 0 or monotonic() > deadline:
                return None
            sleep(0.005)

    def _tell_end(self, step: Step, status: int) -> None:
        group = self._group
        killed = group.oom_kills() if group else 0
        message = ""
        if status:
            state = self._engine.call("GET", f"/containers/{self._name}/json")["State"]
            if killed > self._oom_kills or state.get("OOMKilled"):
                most = self._order.memory_bytes
                message = (
                    f"its processes used more than {most} bytes of memory" if most else "the machine ran out of memory"
                )
            elif not state.get("Running") and not step.stopped:
                raise Failed(
                    "INFRASTRUCTURE", "run", "the container was ended by somebody else, or with the docker daemon"
                )
        self._oom_kills = killed
        self._channel.send("exited", status=status, oom=message, **self._usage())

    def _usage(self) -> dict[str, int]:
        group = self._group
        return {"cpu_us": group.cpu_us(), "peak_memory": group.peak_memory()} if group else {}

    def _tell(self, event: str, **facts: object) -> None:
        try:
            self._channel.send(event, **facts)
        except SupervisorGone:
            pass

    # What the supervisor, and the terminal, want.

    def _look_at_orders(self) -> None:
        for message in self._channel.receive_now():
            self._heed(message)

    def _look_while_pulling(self, fd: int) -> None:
        """Until the engine says more."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._channel.fileno(), select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._channel.fileno() in ready:
                self._look_at_orders()
            if fd in ready:
                return

    def _heed(self, message: Message) -> None:
        match message["op"]:
            case "remove":
                raise Removed
            case "term":
                if self._step is None:
                    raise Removed
                self._step.stopped = True
                numbers = [signal.SIGHUP] if message["hangup"] else []
                for number in (*numbers, signal.SIGTERM, signal.SIGCONT):
                    self._signal(number)
            case "signal":
                if self._step is not None:
                    self._signal(int(message["number"]))

    def _signal(self, number: int) -> None:
        """To every process of the job, as on the machine itself."""
        pids = self._group.pids() if self._group else []
        refused = not pids
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
            except PermissionError:
                refused = True
        if refused:  # From inside, then, if there is a shell; else the grace passes and the container is ended.
            body = {"Cmd": ["/bin/sh", "-c", f"kill -{number} -1"], "User": self._order.user}
            try:
                execution = self._engine.call("POST", f"/containers/{self._name}/exec", body)["Id"]
                self._engine.call("POST", f"/exec/{execution}/start", {"Detach": True})
            except (EngineAway, EngineRefused):
                pass

    def _kill_all(self) -> None:
        """Without the engine."""
        for pid in [self._holder, *(self._group.pids() if self._group else ())]:
            if pid and self._group is not None and self._group.holds(pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass

    def _prepare_files(self) -> None:
        for fd in (STDOUT, 2, *((STDIN,) if self._input else ())):
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
            self._engine.call("POST", f"/exec/{self._step.execution}/resize?h={rows}&w={columns}")
        except (EngineAway, EngineRefused):
            pass  # It has just ended.

    def _read_input(self, newest: Streams) -> None:
        try:
            data = os.read(STDIN, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._input = False
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
            poll = select.poll()
            for fd, events in self._interests().items():
                poll.register(fd, events)
            poll.poll(max(0.0, deadline - monotonic()) * 1000)

    def _interests(self) -> dict[int, int]:
        """What all streams wait for."""
        wanted: dict[int, int] = {}
        for streams in self._streams:
            for fd, events in streams.interests().items():
                wanted[fd] = wanted.get(fd, 0) | events
        return wanted


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
