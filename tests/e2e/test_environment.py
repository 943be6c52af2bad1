"""What a job sees of the service that runs it: nothing secret, nothing open."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from e2e_following import STDOUT, Followed, by_grpc
from e2e_server import ServerProcess

from runner_client import AsyncClient

SECRETS = {
    "SCT_AGENT_API_KEY": "secret-of-sct",
    "RUNNER_TOKEN": "secret-of-token",
    "RUNNER_SECURITY_API_KEYS": '["secret-of-keys"]',
    "AWS_SECRET_ACCESS_KEY": "secret-of-aws",
    "SOMETHING_ELSE": "secret-of-mine",
}
LOOK = r"""
import os, sys
print(open("/proc/self/environ").read().replace("\0", "\n"))
for pid in (os.getppid(),):
    print("PARENT", open(f"/proc/{pid}/environ").read().replace("\0", "\n"))
open_files = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd") if int(fd) > 2]
print("FDS", [os.readlink(path) for path in open_files if os.path.exists(path)])
print("STDIN", os.readlink("/proc/self/fd/0"), repr(sys.stdin.read()))
print("GROUP", os.getpgid(0) == os.getpid(), os.getpgid(0) == os.getpgid(os.getppid()))
print("UMASK", oct(os.umask(0)))
"""


async def test_the_environment_of_a_job_holds_no_secret(own_server: ServerProcess) -> None:
    own_server.start(env=SECRETS)
    async with own_server.client(token="secret-of-sct") as client:
        command = await client.run([sys.executable, "-I", "-S", "-c", LOOK], environment={"MINE": "declared"})
        job = await asyncio.wait_for(client.wait(command.job_id), 60)
        out = (await by_grpc(client, command.job_id, Followed())).bytes_of(STDOUT).decode()
    assert job.outcome.exit_code == 0, out
    own, _, rest = out.partition("PARENT")
    names = {line.partition("=")[0] for line in own.split("\n") if "=" in line}
    assert "MINE=declared" in own
    assert {"PATH", "HOME", "LANG", "MINE"} <= names
    assert not [value for value in SECRETS.values() if value in out]
    assert not names & SECRETS.keys()
    assert "FDS []" in rest
    assert "STDIN /dev/null ''" in rest
    assert "GROUP True False" in rest
    for pid in (own_server.worker_pid,):
        environment = Path(f"/proc/{pid}/environ").read_text()
        assert not [value for value in SECRETS.values() if value in environment], "the worker has no use for them"


async def test_the_data_directory_is_private(server: ServerProcess, client: AsyncClient) -> None:
    await client.run_and_stream(["true"], stdout=print, stderr=print)
    for name in (".", "secrets", "run", "worker"):
        assert (server.data_dir / name).stat().st_mode & 0o077 == 0, name
    for name in ("runner.db", "runner.db-wal", "blobs", "worker/identity"):  # Wherever they are copied to.
        assert (server.data_dir / name).stat().st_mode & 0o077 == 0, name
