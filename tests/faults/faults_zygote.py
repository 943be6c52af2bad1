"""Processes of the service that start in a tenth of a second: forks of one process that has imported everything.

Run as a program it takes one JSON object a line, forks, and answers with the pid. The children are what `runner serve`
and `runner join` are, and die of kill -9 as these do; a crash point is armed in them before they begin.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import weakref
from pathlib import Path
from typing import Any, NamedTuple


class Crash(NamedTuple):
    """A crash point that is armed."""

    name: str
    passes: int = 1
    held_seconds: float = 0.0
    """How long the process stands still there before."""


class Child:
    """One process that the zygote has forked."""

    def __init__(self, pid: int, arming: str = "") -> None:
        self.pid = pid
        self._arming = arming
        self._pidfd = os.pidfd_open(pid)
        self._closing = weakref.finalize(self, os.close, self._pidfd)

    @property
    def alive(self) -> bool:
        looking = select.poll()
        looking.register(self._pidfd, select.POLLIN)
        return not looking.poll(0)

    def signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass

    def arm(self, name: str) -> None:
        """From now on it dies when it passes this crash point."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self._arming)
            line.sendall(name.encode())
            line.shutdown(socket.SHUT_WR)
            assert line.recv(1) == b"!"

    async def ended(self, seconds: float) -> None:
        """Raises TimeoutError."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pidfd, over.set)
        try:
            async with asyncio.timeout(seconds):
                await over.wait()
        finally:
            loop.remove_reader(self._pidfd)


class Zygote:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ},
            text=True,
        )

    def fork(
        self, program: str, *arguments: str, output: Path, crash: Crash | None = None, later: float = 0.0,
        engine: str = "",
    ) -> Child:  # fmt: skip
        """Starts ``serve``, ``worker``, ``supervisor`` or ``step`` (see `faults_ways`) with a command line; its outputs
        are appended to a file. Its clock is ``later`` by so many seconds; its Docker engine is behind that socket."""
        arming = f"\0faults-{uuid.uuid4()}"
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"program": program, "arguments": arguments, "output": str(output), "crash": crash, "later": later}
        order |= {"arming": arming, "engine": engine}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child = Child(int(self._process.stdout.readline()), arming)
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return child

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


def _run(order: dict[str, Any]) -> int:
    from runner_service.domain import crashpoints

    if order["crash"] is not None:
        crashpoints.arm(*order["crash"])
    threading.Thread(target=_arm_when_told, args=(order["arming"],), daemon=True).start()
    if order["engine"]:
        os.environ["DOCKER_HOST"] = f"unix://{order['engine']}"
    if order["later"]:
        shown, now_ns = time.time, time.time_ns
        time.time = lambda: shown() + order["later"]
        time.time_ns = lambda: now_ns() + round(order["later"] * 1e9)
    if order["program"] == "serve":
        from runner_service.commands import serve

        return serve(order["arguments"])
    if order["program"] == "step":
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))
        import faults_ways

        return faults_ways.main(order["arguments"])
    if order["program"] == "worker":
        from runner_service.worker.main import main

        return main(order["arguments"])
    from runner_service.worker.supervisor.__main__ import main as supervise

    return supervise(order["arguments"])


def _arm_when_told(place: str) -> None:
    from runner_service.domain import crashpoints

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen()
        while True:
            line, _ = listening.accept()
            with line, line.makefile("rb") as told:
                crashpoints.arm(told.read().decode())
                line.sendall(b"!")


def _child(order: dict[str, Any]) -> None:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open("/dev/null", os.O_RDONLY)
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for fd, source in ((0, nothing), (1, output), (2, output)):
            os.dup2(source, fd)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        code = _run(order)
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _main() -> None:
    import uvloop  # noqa: F401

    import runner_service.app
    import runner_service.commands
    import runner_service.config
    import runner_service.store.postgres
    import runner_service.worker.main
    import runner_service.worker.supervisor.__main__
    import runner_service.worker.supervisor.server  # noqa: F401

    # Nobody waits for the children, so the kernel need not keep them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in iter(sys.stdin.readline, ""):
        # It waits until it is known by more than its number, which nobody has any more once it has ended.
        waits, goes = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(goes)
            os.read(waits, 1)
            os.close(waits)
            _child(json.loads(line))
        os.close(waits)
        print(pid, flush=True)  # noqa: T201
        sys.stdin.readline()
        os.close(goes)


if __name__ == "__main__":
    _main()
