"""Servers and machines, each a process that can be killed, with a proxy on every line between them; and an oracle: what
/proc says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml
from docker_engine import Dockerd
from faults_proxy import FaultProxy
from faults_zygote import Child, Crash, Zygote

from runner_client import AsyncClient
from runner_service.domain import crashpoints
from runner_service.services.sealing import KEY_BYTES
from runner_service.worker.supervisor.container.engine import quoted
from runner_service.worker.supervisor.container.order import LABEL_OWNER

PATIENCE = 60.0
COMMITS = (
    "jobs.create", "jobs.cancel", "claims.claim_all", "dispatch.beat", "exchanges.exchange_all", "logs.append",
    "inputs.append", "inputs.advance", "dispatch.renew_leases",
)  # fmt: skip
"""Those that every schedule passes."""
_READY = re.compile(r"runner is ready: \S+ grpc://(\S+)")
SETTINGS = {"server": {"shutdown_grace_seconds": 1}, "executor": {"kill_grace_seconds": 1, "max_queued_jobs": 100_000}}


class Machine:
    """A runner: its directory, its line to the server, and its worker while that lives."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.directory = directory / name
        self.proxy = FaultProxy()
        self.worker: Child | None = None
        self.crash: Crash | None = None
        """Armed in the next worker, and only there."""
        self.starts = 0
        """Of workers."""
        self.armed_supervisor: Child | None = None

    @property
    def may_lose(self) -> bool:
        """Its supervisor may die at a crash point that it has not passed yet."""
        return self.armed_supervisor is not None and self.armed_supervisor.alive

    @property
    def supervisor_pid(self) -> int:
        """0 while there is none."""
        try:
            return int(json.loads((self.directory / "worker" / "supervisor.json").read_text())["pid"])
        except (FileNotFoundError, ValueError, KeyError):
            return 0


class Seat:
    """A place for a server, and the one that has it."""

    def __init__(self, directory: Path, number: int) -> None:
        self.name = f"server{number}"
        self.data = directory / ("data" if number == 0 else f"data{number}")
        self.child: Child | None = None
        self.address = ""
        """Empty: nothing listens."""
        self.crash: Crash | None = None
        """Armed in the next server, and only there."""
        self.starts = 0


class House:
    """Everything; `start` and `close`. More than one server needs the URL of a PostgreSQL."""

    def __init__(
        self, directory: Path, zygote: Zygote, *, machines: int = 2, slots: int = 4, servers: int = 1,
        database: str = "", engine: Dockerd | None = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.engine = engine
        """Of the house alone: every container there is belongs to it."""
        self.engine_died = False
        """So that it may have records of containers that were ended without it, until somebody looks for leftovers."""
        self.zygote = zygote
        self.slots = slots
        self.front = FaultProxy()
        """The line of the clients."""
        self.machines = [Machine(directory, f"machine{number}") for number in range(machines)]
        self.seats = [Seat(directory, number) for number in range(servers)]
        self.kills = 0
        self._keeper: asyncio.Task[None] | None = None
        self._wanted = True
        self.settings: dict[str, Any] = {name: dict(section) for name, section in SETTINGS.items()}
        if database:
            self.settings["store"] = {"url": database}
            self.settings["blobs"] = {"url": f"file://{directory}/blobs"}
            key = directory / "secrets.key"
            key.touch(mode=0o600)
            key.write_bytes(os.urandom(KEY_BYTES))
            self.settings["security"] = {"secrets_key_file": str(key)}
        self.port = 0
        """Of the server; 0: another one with each start, to which the proxies follow."""

    @property
    def proxies(self) -> list[FaultProxy]:
        return [self.front, *(machine.proxy for machine in self.machines)]

    @property
    def server(self) -> Child | None:
        """The first one."""
        return self.seats[0].child

    @property
    def starts(self) -> int:
        return self.seats[0].starts

    def arm(self, name: str, passes: int = 1) -> None:
        """The next first server has this crash point."""
        self.seats[0].crash = Crash(name, passes)

    @property
    def armed(self) -> bool:
        """No server has taken it yet."""
        return self.seats[0].crash is not None

    @property
    def errors(self) -> str:
        path = self.directory / "errors"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self) -> AsyncClient:
        return AsyncClient(self.front.address, patience=PATIENCE, connect_patience=PATIENCE)

    async def start(self) -> None:
        for proxy in self.proxies:
            await proxy.start()
        for seat in self.seats:
            await self.start_server(seat)
        for machine in self.machines:
            self.start_worker(machine)
        self._keeper = asyncio.create_task(self._keep_alive())

    async def close(self) -> None:
        """Stops everything as an operator would."""
        self._wanted = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
        children = [machine.worker for machine in self.machines] + [seat.child for seat in self.seats]
        stubborn = [child for child in children if child is not None and not await self._stop(child)]
        for machine in self.machines:
            if stubborn:
                self.kill_supervisor(machine)
        for proxy in self.proxies:
            await proxy.close()
        assert not stubborn, "a process passes over SIGTERM"

    async def _stop(self, child: Child) -> bool:
        child.signal(signal.SIGTERM)
        try:
            await child.ended(PATIENCE)
        except TimeoutError:
            child.signal(signal.SIGKILL)
            return False
        return True

    async def start_server(self, seat: Seat | None = None) -> None:
        """Returns when it is ready, or has crashed."""
        seat = seat or self.seats[0]
        crash, seat.crash = seat.crash, None
        seat.starts += 1
        config, output = self.directory / "config.yaml", self.directory / f"output-{seat.name}-{seat.starts}"
        config.write_text(yaml.safe_dump(self.settings))
        seat.child = child = self.zygote.fork(
            "serve", "--config", str(config), "--data-dir", str(seat.data), "--http", "127.0.0.1:0",
            "--grpc", f"127.0.0.1:{self.port}", "--no-local-runner", "--log-file", str(self.directory / "errors"),
            output=output, crash=crash,
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE):
            while not (output.exists() and (ready := _READY.search(output.read_text()))):
                if not child.alive:
                    return
                await asyncio.sleep(0.01)
        output.unlink()
        self._move(seat, ready[1])

    def _move(self, seat: Seat, address: str) -> None:
        """The server of this seat is there now, which is nowhere if empty."""
        before, seat.address = seat.address, address
        for proxy in self.proxies:
            if before in proxy.targets:
                proxy.targets.remove(before)
            if address:
                proxy.targets.append(address)

    def start_worker(self, machine: Machine) -> None:
        crash, machine.crash = machine.crash, None
        machine.starts += 1
        machine.worker = self.zygote.fork(
            "worker", "--data-dir", str(machine.directory), "--server", machine.proxy.address, "--name", machine.name,
            "--slots", str(self.slots), "--label", f"machine={machine.name}",
            output=self.directory / "errors", crash=crash,
            engine=self.engine.socket if self.engine is not None else "",
        )  # fmt: skip

    def containers(self) -> list[str]:
        """What bears the label of a runner, dead or alive; only alive once the engine was killed."""
        if self.engine is None:
            return []
        filters, all_too = quoted(json.dumps({"label": [LABEL_OWNER]})), int(not self.engine_died)
        found = self.engine.engine.call("GET", f"/containers/json?all={all_too}&filters={filters}") or []
        return [container["Id"] for container in found]

    async def start_supervisor(self, machine: Machine, crash: Crash, number: int = signal.SIGTERM) -> Child:
        """Starts one with a crash point armed, in place of the one that is there, which gets this signal; waits until
        it serves."""
        worker, machine.worker = machine.worker, None  # So that nobody starts another one meanwhile.
        if worker is not None:
            worker.signal(signal.SIGKILL)
            await worker.ended(PATIENCE)
        if before := machine.supervisor_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(before, number)
            await until(lambda: not Path(f"/proc/{before}").exists(), what="the end of the supervisor before")
        output = self.directory / f"{machine.name}-supervisor"
        output.unlink(missing_ok=True)
        supervisor = self.zygote.fork(
            "supervisor", "--directory", str(machine.directory / "worker"), "--idle-exit", "60", output=output,
            crash=crash,
        )  # fmt: skip
        # Or one that the worker had started just before is faster, and has the directory.
        await until(
            lambda: not supervisor.alive or (output.exists() and "ready" in output.read_text()), what="the supervisor"
        )
        machine.armed_supervisor = supervisor
        self.start_worker(machine)
        return supervisor

    async def kill_server(self, seat: Seat | None = None) -> None:
        child = (seat or self.seats[0]).child
        self.kills += 1
        assert child is not None
        child.signal(signal.SIGKILL)
        await child.ended(PATIENCE)

    async def kill_worker(self, machine: Machine) -> None:
        self.kills += 1
        if machine.worker is not None:
            machine.worker.signal(signal.SIGKILL)
            await machine.worker.ended(PATIENCE)

    def kill_supervisor(self, machine: Machine) -> None:
        self.kills += 1
        if pid := machine.supervisor_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def kill_engine(self) -> None:
        """Its containers live on, and it takes them over when it is there again: at once."""
        assert self.engine is not None
        self.kills += 1
        self.engine_died = True
        await asyncio.to_thread(self.engine.kill_alone)
        await asyncio.to_thread(self.engine.start)

    async def crash_server(self, seat: Seat, dice: Random) -> str:
        """Starts it again with a crash point armed, which it may reach soon, late or never."""
        path, when = dice.choice(COMMITS), dice.choice((crashpoints.BEFORE, crashpoints.AFTER))
        seat.crash = crash = Crash(f"{path}.{when}", dice.randrange(1, 5))
        await self.kill_server(seat)
        return crash.name

    async def crash_worker(self, machine: Machine, dice: Random) -> str:
        machine.crash = crash = Crash(dice.choice(crashpoints.WORKER), dice.randrange(1, 3))
        await self.kill_worker(machine)
        return crash.name

    async def crash_supervisor(self, machine: Machine, dice: Random) -> str:
        """As the others; held for long enough there for its jobs to go on, and for its worker to ask again."""
        crash = Crash(dice.choice(crashpoints.SUPERVISOR), dice.randrange(1, 4), dice.choice([0.0, 0.05, 0.3]))
        self.kills += 1
        await self.start_supervisor(machine, crash, signal.SIGKILL)
        return f"{crash.name} held {crash.held_seconds:g} s"

    async def _keep_alive(self) -> None:
        """Starts again whatever has died, as an init system would."""
        while self._wanted:
            await asyncio.sleep(0.03)
            for seat in self.seats:
                if seat.child is not None and not seat.child.alive:
                    self._move(seat, "")
                    await self.start_server(seat)
            for machine in self.machines:
                if machine.worker is not None and not machine.worker.alive:
                    self.start_worker(machine)


def processes_with(token: str) -> list[int]:
    """Living processes that bear a token in their environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(") ")[2][0]
        except OSError:
            continue
        if token.encode() in words and state not in "ZX":
            found.append(int(entry.name))
    return found


async def until(true: Callable[[], bool], *, what: str, seconds: float = PATIENCE) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not come within {seconds:g} s") from None
