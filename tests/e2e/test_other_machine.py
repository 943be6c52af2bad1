"""A runner on another machine, played by a network namespace: credentials are needed off loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_jobs import script
from e2e_processes import end_processes_of, processes_of
from e2e_server import RUNNER, ServerProcess, environment_of
from e2e_until import until

HERE, THERE = "198.18.77.1", "198.18.77.2"


@dataclass
class Machine:
    """A network namespace with one cable to this machine."""

    name: str

    def command(self, *words: str) -> list[str]:
        # Not `ip netns exec`, which hides /sys/fs/cgroup.
        return ["nsenter", f"--net=/run/netns/{self.name}", *words]

    async def runner(self, *words: str, **env: str) -> tuple[int, str, str]:
        """Runs our command line there; exit code and outputs."""
        command = self.command(str(RUNNER), *words)

        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, capture_output=True, text=True, timeout=60, env=environment_of(**env), check=False
            )

        done = await asyncio.to_thread(run)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def machine() -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.skip("making a network namespace needs root")
    for tool in ("ip", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"the program `{tool}` (iproute2, util-linux) is not installed")
    name = f"rs-e2e-{os.getpid()}"
    cable = f"rse{os.getpid()}"

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True, timeout=60)

    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespaces: {error.stderr.decode().strip()}")
    try:
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{HERE}/30", "dev", cable)
        ip("link", "set", cable, "up")
        ip("-n", name, "addr", "add", f"{THERE}/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield Machine(name)
    finally:
        ip("link", "del", cable, check=False)
        ip("netns", "del", name, check=False)


async def test_off_loopback_credentials_are_needed_and_enough(
    own_server: ServerProcess, machine: Machine, tmp_path: Path
) -> None:
    server, home = own_server, tmp_path / "there"
    server.settings["security"]["api_keys"] += [{"key": "worker-key", "role": "worker"}]
    server.start("--no-local-runner", http=[f"{HERE}:0"], grpc=f"{HERE}:0")
    join = ["join", "--server", server.grpc, "--data-dir", str(home), "--label", "where=there"]
    # Nobody without a key, and no key of the wrong role.
    for env, reason in (
        ({}, "needs a credential"),
        ({"RUNNER_TOKEN": "wrong"}, "not one that this service knows"),
        ({"RUNNER_TOKEN": "viewer-key"}, "needs the role worker"),
        ({"RUNNER_TOKEN": "operator-key"}, "needs the role worker"),
    ):
        code, _, err = await machine.runner(*join, **env)
        assert code != 0
        assert reason in err
        assert "Traceback" not in err
    code, _, err = await machine.runner("ps", "--server", server.grpc)
    assert code != 0
    assert "credential" in err
    assert (await machine.runner("ps", "--server", server.grpc, RUNNER_TOKEN="viewer-key"))[0] == 0
    code, _, err = await machine.runner("exec", "--server", server.grpc, "--", "true", RUNNER_TOKEN="viewer-key")
    assert code == 125
    assert "operator" in err
    look = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=60).status)"
    for path, allowed in (("/api/v2/jobs", False), ("/health", True)):
        done = await asyncio.to_thread(
            subprocess.run,
            machine.command("python3", "-c", look, server.http + path),
            capture_output=True,
            text=True,
            timeout=90,
            env=environment_of(no_proxy="*"),
        )
        assert ("401" not in done.stderr and "200" in done.stdout) is allowed, done.stderr
    process = await asyncio.create_subprocess_exec(
        *machine.command(str(RUNNER), *join),
        env=environment_of(RUNNER_TOKEN="worker-key"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with server.client(token="operator-key") as client:
            job = await client.create_job(
                script("cat /proc/net/fib_trie; env; cat /proc/$PPID/environ", labels={"where": "there"})
            )
            ended = await asyncio.wait_for(client.wait(job.job_id), 60)
            parts = [part async for part in client.follow(job.job_id)]
            output = b"".join(record.data for part in parts for record in part.records).decode()
            assert ended.outcome.exit_code == 0
            assert THERE in output, "it ran on the other machine"
            assert "worker-key" not in output
        # What a worker got by registering is its own, and lets it do nothing else.
        assert "worker-key" not in (home / "worker" / "identity").read_text()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
        await until(lambda: not processes_of(str(home)), what="the end of the joined worker")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        assert not end_processes_of(str(home))
