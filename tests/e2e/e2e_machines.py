"""Other machines, played by network namespaces on one switch; each is made a runner by `runner join`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from e2e_processes import end_processes_of
from e2e_server import RUNNER, environment_of

HERE = "198.18.80.1"


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True, timeout=60)


class Machine:
    """One namespace, and the worker in it."""

    def __init__(self, number: int, directory: Path) -> None:
        self.name = f"machine-{number}"
        self.address = f"198.18.80.{number + 2}"
        self.home = directory / self.name
        self._space = f"rs-m{number}-{os.getpid()}"
        self.cable = f"rsm{number}{os.getpid() % 100_000}"
        self._errors = directory / f"{self.name}.err"
        self._process: subprocess.Popen[bytes] | None = None

    def plug_in(self, switch: str) -> None:
        ip("netns", "add", self._space)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        ip("link", "set", self.cable, "master", switch, "up")
        ip("-n", self._space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self._space, "link", "set", "eth0", "up")
        ip("-n", self._space, "link", "set", "lo", "up")

    def unplug(self) -> None:
        ip("link", "del", self.cable, check=False)
        ip("netns", "del", self._space, check=False)

    def cut_off(self) -> None:
        ip("link", "set", self.cable, "down")

    def connect_again(self) -> None:
        ip("link", "set", self.cable, "up")

    def join(self, server: str, token: str, *options: str) -> None:
        # Not `ip netns exec`, which hides /sys/fs/cgroup.
        command = ["nsenter", f"--net=/run/netns/{self._space}", str(RUNNER), "join", "--server", server]
        command += ["--data-dir", str(self.home), "--name", self.name, *options]
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                command, env=environment_of(RUNNER_TOKEN=token), stdin=subprocess.DEVNULL, stderr=errors
            )

    @property
    def said(self) -> str:
        """What its worker wrote to standard error."""
        return self._errors.read_text()

    def leave(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(90)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        end_processes_of(str(self.home))


@contextmanager
def machines(count: int, directory: Path) -> Iterator[list[Machine]]:
    """Some machines on one switch with this one; skips the test where that cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    for tool in ("ip", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"the program `{tool}` (iproute2, util-linux) is not installed")
    switch = f"rsw{os.getpid() % 100_000}"
    try:
        ip("link", "add", switch, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no bridges: {error.stderr.decode().strip()}")
    with ExitStack() as stack:
        stack.callback(ip, "link", "del", switch, check=False)
        ip("addr", "add", f"{HERE}/24", "dev", switch)
        ip("link", "set", switch, "up")
        made = []
        for number in range(count):
            machine = Machine(number, directory)
            stack.callback(machine.unplug)
            machine.plug_in(switch)
            stack.callback(machine.leave)
            made.append(machine)
        yield made
