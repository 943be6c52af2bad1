"""One server and two machines, each a process that can be killed, with a proxy on every line between them; and the
oracles: what /proc says, what the jobs wrote down, what followers got."""

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

import yaml
from faults_proxy import FaultProxy
from faults_zygote import Child, Zygote

from runner_client import AsyncClient
from runner_service.domain import crashpoints

PATIENCE = 60.0
_READY = re.compile(r"runner is ready: \S+ grpc://(\S+)")
SETTINGS = {"server": {"shutdown_grace_seconds": 1}, "executor": {"kill_grace_seconds": 1, "max_queued_jobs": 100_000}}


class Machine:
    """A runner: its directory, its line to the server, and its worker while that lives."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.directory = directory / name
        self.proxy = FaultProxy()
        self.worker: Child | None = None
        self.crash: tuple[str, int] | None = None
        """Armed in the next worker, and only there."""

    @property
    def supervisor_pid(self) -> int:
        """0 while there is none."""
        try:
            return int(json.loads((self.directory / "worker" / "supervisor.json").read_text())["pid"])
        except (FileNotFoundError, ValueError, KeyError):
            return 0


class House:
    """Everything; `start` and `close`."""

    def __init__(self, directory: Path, zygote: Zygote, *, machines: int = 2, slots: int = 4) -> None:
        self.directory = directory
        self.zygote = zygote
        self.slots = slots
        self.front = FaultProxy()
        """The line of the clients."""
        self.machines = [Machine(directory, f"machine{number}") for number in range(machines)]
        self.server: Child | None = None
        self.crash: tuple[str, int] | None = None
        """Armed in the next server, and only there."""
        self.starts = 0
        self.kills = 0
        self._keeper: asyncio.Task[None] | None = None
        self._wanted = True
        self.settings = SETTINGS
        self.port = 0
        """Of the server; 0: another one with each start, to which the proxies follow."""

    @property
    def proxies(self) -> list[FaultProxy]:
        return [self.front, *(machine.proxy for machine in self.machines)]

    @property
    def faults(self) -> int:
        return self.kills + sum(proxy.faults for proxy in self.proxies)

    @property
    def errors(self) -> str:
        path = self.directory / "errors"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self) -> AsyncClient:
        return AsyncClient(self.front.address, patience=PATIENCE, connect_patience=PATIENCE)

    async def start(self) -> None:
        for proxy in self.proxies:
            await proxy.start()
        await self.start_server()
        for machine in self.machines:
            self.start_worker(machine)
        self._keeper = asyncio.create_task(self._keep_alive())

    async def close(self) -> None:
        """Stops everything as an operator would."""
        self._wanted = False
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
        children = [machine.worker for machine in self.machines] + [self.server]
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
            await child.ended(PATIENCE / 2)
        except TimeoutError:
            child.signal(signal.SIGKILL)
            return False
        return True

    async def start_server(self) -> None:
        """Returns when it is ready, or has crashed."""
        crash, self.crash = self.crash, None
        self.starts += 1
        config, output = self.directory / "config.yaml", self.directory / f"output-{self.starts}"
        config.write_text(yaml.safe_dump(self.settings))
        self.server = self.zygote.fork(
            "serve", "--config", str(config), "--data-dir", str(self.directory / "data"), "--http", "127.0.0.1:0",
            "--grpc", f"127.0.0.1:{self.port}", "--no-local-runner", "--log-file", str(self.directory / "errors"),
            output=output, crash=crash,
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE):
            while not (output.exists() and (ready := _READY.search(output.read_text()))):
                if not self.server.alive:
                    return
                await asyncio.sleep(0.01)
        output.unlink()
        for proxy in self.proxies:
            proxy.target = ready[1]

    def start_worker(self, machine: Machine) -> None:
        crash, machine.crash = machine.crash, None
        machine.worker = self.zygote.fork(
            "worker", "--data-dir", str(machine.directory), "--server", machine.proxy.address, "--name", machine.name,
            "--slots", str(self.slots), "--label", f"machine={machine.name}",
            output=self.directory / "errors", crash=crash,
        )  # fmt: skip

    async def start_supervisor(self, machine: Machine, crash: tuple[str, int]) -> Child:
        """Starts one with a crash point armed, in place of the one that is there, and waits until it serves."""
        if machine.worker is not None:
            machine.worker.signal(signal.SIGKILL)
            await machine.worker.ended(5)
            machine.worker = None
        if before := machine.supervisor_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(before, signal.SIGTERM)
            await until(lambda: not Path(f"/proc/{before}").exists(), what="the end of the supervisor before")
        output = self.directory / f"{machine.name}-supervisor"
        output.unlink(missing_ok=True)
        supervisor = self.zygote.fork(
            "supervisor", "--directory", str(machine.directory / "worker"), "--idle-exit", "60", output=output,
            crash=crash,
        )  # fmt: skip
        await until(lambda: output.exists() and "ready" in output.read_text(), what="the supervisor")
        self.start_worker(machine)
        return supervisor

    async def kill_server(self) -> None:
        self.kills += 1
        assert self.server is not None
        self.server.signal(signal.SIGKILL)
        await self.server.ended(5)

    async def kill_worker(self, machine: Machine) -> None:
        self.kills += 1
        if machine.worker is not None:
            machine.worker.signal(signal.SIGKILL)
            await machine.worker.ended(5)

    def kill_supervisor(self, machine: Machine) -> None:
        self.kills += 1
        if pid := machine.supervisor_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def crash_server(self, dice: Random) -> str:
        """Starts it again with a crash point armed, which it may reach soon, late or never."""
        name = dice.choice(crashpoints.SERVER)
        self.crash = (name, dice.randrange(1, 5))
        await self.kill_server()
        return name

    async def crash_worker(self, machine: Machine, dice: Random) -> str:
        name = dice.choice(crashpoints.WORKER)
        machine.crash = (name, dice.randrange(1, 3))
        await self.kill_worker(machine)
        return name

    async def _keep_alive(self) -> None:
        """Starts again whatever has died, as an init system would."""
        while self._wanted:
            await asyncio.sleep(0.03)
            if self.server is not None and not self.server.alive:
                for proxy in self.proxies:
                    proxy.target = ""
                await self.start_server()
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
