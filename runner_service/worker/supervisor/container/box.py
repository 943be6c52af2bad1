"""The container of one attempt: made, executed in, signalled, measured, and removed whatever happens."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from time import monotonic, sleep

from runner_service.worker.supervisor.container import holder, image, order, processes
from runner_service.worker.supervisor.container.engine import Engine, EngineAway, EngineRefused
from runner_service.worker.supervisor.container.failures import Failed, refusal_of
from runner_service.worker.supervisor.container.order import Order
from runner_service.worker.supervisor.container.processes import Group
from runner_service.worker.supervisor.wire import Message

REMOVE_SECONDS = 8.0
"""Within the supervisor's budget for a kill."""
BIRTH_SECONDS = 60.0
"""From an execution to its process."""
_PAUSE_SECONDS = 0.1


class Box:
    """One container. Every method may raise `EngineAway`, and `EngineRefused` for what nobody expects, but the last
    three, which do what can be done."""

    def __init__(self, plan: Message) -> None:
        self._plan = plan
        self._order = Order(**plan["order"])
        self._engine = Engine(self._order.engine)
        self._name = order.container_name(plan["attempt_id"])
        self.layer = ""
        """The directory in which what it writes into its file system is kept; empty where that cannot be seen."""
        self._own_command: list[str] = []
        """The image's."""
        self.made: bool = plan["made"]
        """Its first process may exist; before, nothing of the job can run."""
        self.holder: int = plan["holder"]
        """That process; 0: it is not to be seen from here."""
        self._group = Group(self.holder) if self.holder else None
        self._oom_kills = 0

    def make(self, look: Callable[[], None], look_while_pulling: Callable[[int], None]) -> None:
        """Gets the image and starts the container, with nothing but the holder in it. ``look``: before it is made.

        Raises:
            Failed: It cannot be as it is asked for.
        """
        plan = self._plan
        found = image.ensure(self._engine, self._order, look_while_pulling)
        self._own_command = [*(found.get("Entrypoint") or ()), *(found.get("Cmd") or ())]
        try:
            path = holder.install(plan["directory"])
        except (OSError, KeyError) as error:
            raise Failed("INFRASTRUCTURE", "prepare", f"the holder of containers cannot be made: {error}") from None
        body = order.creation(
            self._order,
            attempt_id=plan["attempt_id"],
            fence=plan["fence"],
            owner=plan["owner"],
            directory=plan["directory"],
            workspace=plan["workspace"],
            holder=path,
        )
        look()
        try:
            self._engine.call("POST", f"/containers/create?name={self._name}", body)
            self._engine.call("POST", f"/containers/{self._name}/start")
        except EngineRefused as error:
            raise refusal_of(error) from None
        made = self._engine.call("GET", f"/containers/{self._name}/json")
        self.made = True
        if processes.belongs(int(made["State"]["Pid"]), made["Id"]):
            self.holder = int(made["State"]["Pid"])
            self._group = Group(self.holder)
        layer = str(((made.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir", ""))
        self.layer = layer if os.access(layer, os.R_OK | os.X_OK) else ""

    def execute(self, index: int) -> tuple[str, socket.socket, bytes]:
        """Asks for a step. Returns its execution, its streams and what came of them already.

        Raises:
            Failed: It cannot be started, and the engine knows it already.
        """
        argv = self._plan["steps"][index]
        if argv == [""]:
            argv = self._own_command
            if not argv:
                raise Failed("REFUSED", "COMMAND_NOT_FOUND", f"the image {self._order.image} has no command of its own")
        body = order.execution(
            self._order, argv, self._plan["environment"], stdin=self._plan["stdin"], terminal=self._plan["terminal"]
        )
        execution = self._engine.call("POST", f"/containers/{self._name}/exec", body)["Id"]
        start = {"Detach": False, "Tty": self._plan["stdin"] == "PTY"}
        try:
            return (execution, *self._engine.hijack(f"/exec/{execution}/start", start))
        except EngineRefused as error:  # Newer engines say it before there are streams.
            raise refusal_of(error) from None

    def birth(self, execution: str, said: Callable[[], bytes], look: Callable[[], None]) -> int:
        """The process of an execution, 0 when it is not to be seen from here. ``said``: all that the streams bring,
        when there will be none; ``look``: meanwhile.

        Raises:
            Failed: There will be none.
        """
        deadline = monotonic() + BIRTH_SECONDS
        while monotonic() < deadline:
            look()
            found = self._engine.call("GET", f"/exec/{execution}/json")
            if found.get("Pid"):
                pid = int(found["Pid"])
                return pid if self._group is not None and self._group.holds(pid) else 0
            if not found.get("Running") and found.get("ExitCode") is not None:
                raise refusal_of(EngineRefused(400, said().decode("utf-8", "replace").strip()))
            sleep(0.001)
        raise EngineAway("it does not start the process")

    def exit_status(self, execution: str) -> int | None:
        """As the engine tells it; None: it runs."""
        found = self._engine.call("GET", f"/exec/{execution}/json")
        if found.get("Running") or found.get("ExitCode") is None:
            return None
        return processes.status_of(int(found["ExitCode"]))

    def resize(self, execution: str, rows: int, columns: int) -> None:
        self._engine.call("POST", f"/exec/{execution}/resize?h={rows}&w={columns}")

    def why_it_failed(self, *, asked: bool) -> str:
        """A sentence, if a step that failed did so for want of memory. ``asked``: it was told to end.

        Raises:
            Failed: Somebody else has ended the container.
        """
        state = self._state()
        killed = self._group.oom_kills() if self._group else 0
        before, self._oom_kills = self._oom_kills, max(killed, self._oom_kills)
        if killed > before or state.get("OOMKilled"):
            most = self._order.memory_bytes
            return f"its processes used more than {most} bytes of memory" if most else "the machine ran out of memory"
        if not state.get("Running") and not asked:
            message = "the container was ended by somebody else, or with the docker daemon"
            raise Failed("INFRASTRUCTURE", "run", message)
        return ""

    def usage(self) -> dict[str, int]:
        """What can be measured of it now."""
        group = self._group
        return {"cpu_us": group.cpu_us(), "peak_memory": group.peak_memory()} if group else {}

    def signal(self, number: int) -> None:
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

    def remove(self) -> int:
        """Ends whatever runs in it and removes it. Returns how many processes may be left."""
        deadline = monotonic() + REMOVE_SECONDS
        while True:
            try:
                self._engine.call("DELETE", f"/containers/{self._name}?force=1&v=1", timeout=REMOVE_SECONDS / 2)
                return 0
            except EngineRefused as error:
                if error.status == 404:
                    return 0
            except EngineAway:
                self._kill()
                if not self.made or (self.holder and not _lives(self.holder)):
                    return 0  # Its record is removed by whoever looks for leftovers next.
            if monotonic() > deadline:
                return max(1, len(self._group.pids()) if self._group else 1)
            sleep(_PAUSE_SECONDS)

    def _kill(self) -> None:
        """Without the engine. With the holder, the first process, all others end too."""
        if self._group is not None and self._group.holds(self.holder):
            try:
                os.kill(self.holder, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass

    def _state(self) -> Message:
        state: Message = self._engine.call("GET", f"/containers/{self._name}/json")["State"]
        return state


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
