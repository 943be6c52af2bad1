"""Containers through every API that knows them: a real server, its own worker, a real Docker engine."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from rustci_server import UNLIMITED, RustCi
from sct_server import PATIENCE, ROOT, SctServer, until
from sentinel_client import Sentinel, ends, hear_until, say

sys.path.insert(0, str(ROOT / "tests" / "worker" / "executors"))

from docker_engine import IMAGE, Dockerd, dockerd

pytestmark = pytest.mark.slow

# Answers in lines of JSON, as far as a shell can: a chunk for each message, with the id that it bears.
AGENT = r"""
echo ready >&2
while read -r line; do
  id=$(echo "$line" | busybox sed 's/.*"message_id": *"\([^"]*\)".*/\1/')
  printf '{"type":"chunk","message_id":"%s","content":"from %s in %s"}\n' "$id" "$IMAGE" "$(pwd)"
  printf '{"type":"end","message_id":"%s"}\n' "$id"
done
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Dockerd]:
    with dockerd() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def docker_server(tmp_path_factory: pytest.TempPathFactory, engine: Dockerd) -> Iterator[SctServer]:
    config = {**UNLIMITED, "sentinel": {"users": {"user": "password"}}}
    environment = {"DOCKER_HOST": f"unix://{engine.socket}"}
    server = SctServer(tmp_path_factory.mktemp("docker"), config, environment=environment)
    server.start()
    yield server
    sys.stderr.write(server.errors)
    server.close()


@pytest.fixture(scope="module")
def api(docker_server: SctServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{docker_server.url}/api/v2", timeout=PATIENCE, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def rustci(docker_server: SctServer) -> Iterator[RustCi]:
    made = RustCi(docker_server)
    yield made
    made.http.close()


@pytest.fixture(scope="module")
def sentinel(docker_server: SctServer) -> Iterator[Sentinel]:
    made = Sentinel(docker_server.url)
    yield made
    made.http.close()


def _run(api: httpx.Client, **command: Any) -> dict[str, Any]:
    reply = api.post("/commands", json={"wait": "60s", **command})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()["command"]
    return found


def test_a_command_runs_in_the_image_that_it_names(api: httpx.Client) -> None:
    command = _run(api, argv=["sh", "-c", "test $IMAGE = yes && exit 9"], container={"image": IMAGE, "network": "none"})
    assert (command["outcome"]["kind"], command["outcome"]["exitCode"]) == ("KIND_EXITED", 9), command
    assert (command["container"]["image"], command["container"]["network"]) == (IMAGE, "none")
    missing = _run(api, argv=["nowhere"], container={"image": IMAGE, "network": "none"})
    assert missing["outcome"]["detail"] == "COMMAND_NOT_FOUND"


def test_only_a_runners_configuration_gives_all_rights(api: httpx.Client) -> None:
    reply = api.post("/commands", json={"argv": ["true"], "container": {"image": IMAGE, "privileged": True}})
    assert reply.status_code == 400
    assert "container.privileged" in reply.text


def test_a_job_that_no_runner_can_take_says_what_is_missing(api: httpx.Client) -> None:
    labels = {"os": "linux", "gpu": "yes"}
    reply = api.post(
        "/commands", json={"argv": ["true"], "container": {"image": IMAGE}, "requiredLabels": labels}
    )  # fmt: skip
    job_id = reply.json()["command"]["jobId"]
    waiting = api.get(f"/jobs/{job_id}").json()["job"]["waiting"]
    assert waiting.endswith("lacks gpu=yes")
    api.post(f"/commands/{job_id}:cancel", json={})


def test_docker_settings_of_a_rustci_runner_hold_for_its_jobs(
    rustci: RustCi, docker_server: SctServer, engine: Dockerd, api: httpx.Client
) -> None:
    runner = rustci.register(type="docker", capabilities=["docker"])
    plain = rustci.ended(runner, rustci.submit(runner, 'test -z "$IMAGE"'))
    assert plain["status"] == "completed"  # Nobody said in which image.
    docker = {"image": IMAGE, "network_mode": "none", "volumes": [f"{docker_server.data}:/shared:ro"]}
    answer = rustci.ask("PUT", f"/{runner}/config", json={"docker_config": docker})
    assert answer["restart_required"] is False
    shown = rustci.ask("GET", f"/{runner}/config")["configuration"]["docker_config"]
    assert shown == {"privileged": False, **docker}
    scripts = ('test "$IMAGE" = yes', "test -f /shared/runner.db", "! touch /shared/x", "exit 6")
    job = rustci.ended(runner, rustci.submit(runner, *scripts))
    assert (job["status"], job["exit_code"]) == ("failed", 6)
    rustci.ask("PUT", f"/{runner}/config", json={"docker_config": {"privileged": True}})
    job_id = rustci.submit(runner, "busybox grep CapEff: /proc/self/status")
    ended = rustci.ended(runner, job_id)
    found = api.get(f"/jobs/{job_id.removeprefix('job_')}").json()["job"]
    assert found["spec"]["container"]["privileged"] is True
    # A machine that has not all rights itself cannot give them: its engine says so.
    assert ended["status"] == "completed" or "unable to apply caps" in found["outcome"]["message"]
    rustci.ask("PUT", f"/{runner}/config", json={"docker_config": {"privileged": False}})
    limits = {"resource_limits": {"memory_limit": "16Mi"}}
    rustci.ask("PUT", f"/{runner}/config", json=limits)
    hog = rustci.ended(runner, rustci.submit(runner, "dd if=/dev/zero of=/dev/null bs=64M count=1"))
    assert hog["status"] == "failed"
    rustci.ask("PUT", f"/{runner}/config", json={"docker_config": {"volumes": ["nonsense"]}}, status=400)
    health = rustci.ask("GET", f"/{runner}/health")
    assert health["checks"]["docker_daemon"]["status"] == "pass"
    until(lambda: engine.containers() == [], "the end of every container")


async def test_an_agent_lives_in_a_container_and_is_spoken_to(sentinel: Sentinel, engine: Dockerd) -> None:
    manifest = {"container": IMAGE, "entrypoint": ["/bin/sh", "-c", AGENT]}
    _push(sentinel, "contained", manifest)
    agent = sentinel.create("contained")
    sentinel.when(agent["id"], "running")
    async with sentinel.chat(agent["id"]) as socket:
        await say(socket, type="message", content="hello")
        frames = await hear_until(socket, ends)
    assert frames[-1]["type"] == "stream_end"
    assert frames[-1]["content"] == "from yes in /workspace"
    until(lambda: any("ready" in entry["message"] for entry in sentinel.logs(agent["id"])), "its log")
    until(lambda: len(engine.containers()) == 1, "its container alone")
    (name,) = engine.containers()
    sentinel.delete(agent["id"])
    until(lambda: name not in engine.containers(), "the end of the container")


def test_an_image_without_an_entrypoint_runs_the_containers_own_command(sentinel: Sentinel) -> None:
    _push(sentinel, "own", {"container": IMAGE})
    agent = sentinel.create("own")
    sentinel.when(agent["id"], "stopped")
    until(lambda: any("own command" in entry["message"] for entry in sentinel.logs(agent["id"])), "its log")
    sentinel.delete(agent["id"])


def _push(sentinel: Sentinel, name: str, manifest: dict[str, Any]) -> None:
    file = base64.b64encode(json.dumps(manifest).encode()).decode()
    reply = sentinel.http.post(
        "/v1/registry/push", json={"name": name, "tag": "latest", "file": file}, headers=sentinel.login()
    )  # fmt: skip
    assert reply.status_code == 200, reply.text
