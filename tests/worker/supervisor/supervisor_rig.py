"""A worker's hold on a real supervisor, and the oracles: what /proc says, what the journal holds."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from runner_service.domain.logs import LogRecord, LogSeal, LogStream, decode
from runner_service.domain.outcomes import Outcome
from runner_service.worker.supervisor import client
from runner_service.worker.supervisor.client import Client
from runner_service.worker.supervisor.launch import Options
from runner_service.worker.supervisor.wire import Known, Message, Plan

PATIENCE = float(os.environ.get("RUNNER_TESTS_PATIENCE", "60"))
"""Seconds; more in a machine that is slow by nature."""
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/"}


class End:
    """The end of an attempt as it was told."""

    def __init__(self, message: Message) -> None:
        self.outcome: Outcome = client.outcome(message["outcome"])
        self.size: int = message["size"]
        self.seal: LogSeal = client.seal(message["seal"])


class Hold:
    """One worker's connection, and everything it was told."""

    def __init__(self, directory: Path, *, cgroup: bool = True) -> None:
        self.directory = directory
        self.cgroup = cgroup
        self.events: list[Message] = []
        self._news = asyncio.Event()
        self.client: Client
        self.connected = False

    async def connect(self, **options: object) -> dict[str, Known]:
        given = Options(**{"idle_exit_seconds": 0.5, "cgroup": self.cgroup, **options})  # type: ignore[arg-type]
        self.client, known = await Client.meet(str(self.directory), self._on_event, given)
        self.connected = True
        return {one.attempt_id: one for one in known}

    async def start(
        self, attempt_id: str, *steps: str | list[str], fence: int = 1, environment: dict[str, str] | None = None,
        **plan: object,
    ) -> None:  # fmt: skip
        """A step is a script or an argument vector."""
        given = {**ENVIRONMENT, "RUNNER_ATTEMPT_ID": attempt_id, **(environment or {})}
        argvs = [["/bin/sh", "-c", step] if isinstance(step, str) else step for step in steps]
        await self.client.start(attempt_id, fence, Plan(argvs, given, **{"kill_grace_seconds": 0.3, **plan}))  # type: ignore[arg-type]

    async def run(self, attempt_id: str, *steps: str | list[str], **plan: object) -> End:
        await self.start(attempt_id, *steps, **plan)  # type: ignore[arg-type]
        return await self.end(attempt_id)

    async def end(self, attempt_id: str) -> End:
        return End(await self.event("ended", attempt_id))

    async def event(self, kind: str, attempt_id: str) -> Message:
        """The first event of a kind about an attempt, from before or to come."""

        def matches(event: Message) -> bool:
            about = event.get("sizes", ()) if kind == "output" else (event.get("attempt_id"),)
            return event["event"] == kind and attempt_id in about

        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if matches(event):
                        return event
                self._news.clear()
                await self._news.wait()

    async def news(self) -> None:
        """Something was told."""
        self._news.clear()
        await self._news.wait()

    async def written(self, attempt_id: str, beyond: int) -> None:
        """The processes were given input beyond this place."""
        async with asyncio.timeout(PATIENCE):
            while not any(
                event["written"].get(attempt_id, -1) > beyond for event in self.events if event["event"] == "input"
            ):
                await self.news()

    async def gone(self) -> None:
        """The supervisor, and its guard, have exited."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait((self.client.lost,))
        await self.client.close()
        await until(lambda: not alive(self.client.pid) and not alive(self.client.guard_pid))

    def journal(self, attempt_id: str) -> bytes:
        path = Path(self.client.journal(attempt_id))
        return path.read_bytes() if path.exists() else b""

    def records(self, attempt_id: str) -> list[LogRecord]:
        return [record for record, _ in decode(self.journal(attempt_id))]

    def text(self, attempt_id: str, stream: LogStream = LogStream.STDOUT) -> bytes:
        return b"".join(record.data for record in self.records(attempt_id) if record.stream is stream)

    def check_seal(self, attempt_id: str, end: End) -> None:
        """The seal says exactly what the journal holds."""
        journal = self.journal(attempt_id)
        assert len(journal) == end.size
        records = self.records(attempt_id)
        assert [record.sequence for record in records] == list(range(end.seal.records))
        assert hashlib.sha256(b"".join(record.data for record in records)).digest() == end.seal.sha256
        assert len(self.text(attempt_id, LogStream.STDOUT)) == end.seal.stdout_bytes
        assert len(self.text(attempt_id, LogStream.STDERR)) == end.seal.stderr_bytes

    def _on_event(self, event: Message) -> None:
        self.events.append(event)
        self._news.set()


def with_token(token: str) -> list[int]:
    """Living processes that have a token in their environment or command line. The oracle of no survivors."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(") ")[2][0]
        except OSError:
            continue
        if token.encode() in text and state not in "ZX":
            found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[tuple[int, str]]:
    """Pid and state of the children of a process, zombies included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append((int(entry.name), fields[0]))
    return found


async def until(true: Callable[[], bool]) -> None:
    """For what /proc only can tell and nobody reports."""
    deadline = monotonic() + PATIENCE
    while not true():
        assert monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


def kill9(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
