"""``runner gateway`` in front of a server: its answers, how it stops, and what it says when it can't serve."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from e2e_server import RUNNER, STOP_SECONDS, ServerProcess, environment_of
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


@contextmanager
def remote_gateway(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A gateway on a free port; yields its address."""
    command = [str(RUNNER), "gateway", "--http", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment_of()) as process:
        try:
            assert process.stdout is not None
            ready = re.match(r"gateway is ready: (http://\S+) for ", process.stdout.readline())
            assert ready is not None
            yield ready[1], process
        finally:
            process.kill()


def test_it_answers_as_the_server_does_and_stops_when_told(server: ServerProcess) -> None:
    with (
        remote_gateway("--upstream", server.grpc) as (address, process),
        httpx.Client(base_url=address, timeout=60, trust_env=False) as far,
        httpx.Client(base_url=server.http, timeout=60, trust_env=False) as near,
    ):
        for path in ("/readyz", "/api/v2/jobs", "/api/v2/jobs/nobody", "/api/v2/nothing", "/api/v1/commands/nobody"):
            there, here = far.get(path, headers={"x-request-id": "r"}), near.get(path, headers={"x-request-id": "r"})
            assert (there.status_code, there.content) == (here.status_code, here.content), path
        assert far.get("/readyz").json() == {"status": "SERVING"}
        job = far.post("/api/v2/jobs", json={"spec": {"steps": [{"script": "echo far"}]}}).json()["job"]
        with far.stream("GET", f"/api/v2/jobs/{job['jobId']}:wait", timeout=90) as reply:
            reply.read()
        foreign = far.get("/api/v2/jobs", headers={"host": "evil.example"})
        assert foreign.status_code == 401, "another site's name is not let in by way of the gateway either"
        told = []
        for url in (server.http, address):
            with (
                pytest.raises(InvalidStatus) as refused,
                connect(
                    f"{url.replace('http', 'ws')}/api/v2/commands:exec",
                    additional_headers={"authorization": "Bearer nobody", "x-request-id": "r"},
                    proxy=None,
                ),
            ):
                pass
            told.append((refused.value.response.status_code, refused.value.response.body))
        assert told[0] == told[1], "a talk is refused before the upgrade, here as there"
        assert told[0][0] == 401
        with connect(f"{address.replace('http', 'ws')}/api/v2/commands:exec", proxy=None) as talk:
            talk.send('{"start": {"argv": ["echo", "far"]}}')
            assert "started" in talk.recv(timeout=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0


def test_it_says_why_it_cannot_serve() -> None:
    command = [str(RUNNER), "gateway", "--upstream", "127.0.0.1:1", "--http", "127.0.0.1:0"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment_of(), timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1] == (
        "runner: 127.0.0.1:1: the server can't be asked what it serves: UNAVAILABLE (Connection refused) — "
        "name a gRPC server by --upstream, with --tls if it speaks TLS; one without reflection needs --descriptor-set"
    )


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot read the descriptor set"), (b"text", "is no descriptor set with imports")]
)
def test_a_descriptor_set_that_is_none_is_said_to_be_so(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "library.binpb"
    if content is not None:
        path.write_bytes(content)
    command = [str(RUNNER), "gateway", "--upstream", "127.0.0.1:1", "--descriptor-set", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment_of(), timeout=60, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert said in line and str(path) in line
