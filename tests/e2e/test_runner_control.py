"""Three machines become runners, take jobs, are stopped, restarted and cut off, and every view tells the truth."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e_command_line import CommandLine
from e2e_jobs import wait_for
from e2e_machines import HERE, Machine, machines
from e2e_server import ServerProcess
from e2e_until import until


class View:
    """RustCI's view of the service."""

    def __init__(self, server: ServerProcess) -> None:
        self.http = httpx.Client(base_url=f"{server.http}/api/runners", timeout=90, trust_env=False)
        self.ids: dict[str, str] = {}

    def get(self, path: str = "") -> Any:
        reply = self.http.get(path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: object = None, *, status: int = 200) -> Any:
        reply = self.http.post(path, **({} if body is None else {"json": body}))
        assert reply.status_code == status, reply.text
        return reply.json()

    def of(self, machine: Machine, path: str = "") -> Any:
        return self.get(f"/{self.ids[machine.name]}{path}")

    def tell(self, machine: Machine, verb: str, body: object = None, *, status: int = 200) -> Any:
        return self.post(f"/{self.ids[machine.name]}/{verb}", body, status=status)

    def status(self, machine: Machine) -> str:
        found: str = self.of(machine, "/status")["status"]
        return found

    def submit(self, machine: Machine, script: str) -> str:
        body = {"name": "job", "steps": [{"name": "one", "run": script}]}
        found: str = self.tell(machine, "jobs", body, status=201)["job_id"]
        return found

    def job(self, machine: Machine, job_id: str) -> dict[str, Any]:
        (found,) = [job for job in self.of(machine, "/jobs")["jobs"] if job["job_id"] == job_id]
        return dict(found)

    async def becomes(self, machine: Machine, job_id: str, status: str) -> None:
        await until(lambda: self.job(machine, job_id)["status"] == status, what=f"{status} of a job", seconds=60)

    async def is_in(self, machine: Machine, status: str, *, seconds: float = 60) -> None:
        await until(lambda: self.status(machine) == status, what=f"{machine.name} {status}", seconds=seconds)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Machine]]:
    with machines(3, tmp_path) as made:
        yield made


@pytest.fixture
async def view(own_server: ServerProcess, three: list[Machine]) -> Any:
    own_server.settings["security"]["api_keys"] += [{"key": "worker-key", "role": "worker"}]
    own_server.settings["rate_limits"] = {"registration": 0, "status": 0, "submission": 0, "bulk": 0}
    own_server.start("--no-local-runner", grpc=f"{HERE}:0")
    for machine in three:
        machine.join(own_server.grpc, "worker-key", "--slots", "1")
    view = View(own_server)
    await until(lambda: view.get()["total_count"] == 3, what="three registrations", seconds=60)
    view.ids = {runner["name"]: runner["id"] for runner in view.get()["runners"]}
    yield view
    view.http.close()


@pytest.mark.slow
async def test_three_machines_are_told_what_to_do_and_do_it(
    view: View, three: list[Machine], own_server: ServerProcess, tmp_path: Path
) -> None:
    first, second, third = three
    for machine in three:
        await view.is_in(machine, "active")
        await until(lambda of=machine: view.of(of, "/health")["health"] == "healthy", what="a healthy runner")
        runner = view.of(machine)
        assert (runner["type"], runner["status"]) == ("native", "active")
        assert runner["resources"]["cpu_cores"] >= 1
        health = view.of(machine, "/health")
        assert health["health"] == "healthy" and health["checks"]["connectivity"]["response_time_ms"] > 0
    # A job runs where it was submitted to.
    jobs = {machine.name: view.submit(machine, "cat /proc/net/fib_trie") for machine in three}
    for machine in three:
        await view.becomes(machine, jobs[machine.name], "completed")
        messages = [entry["message"] for entry in view.of(machine, "/logs?limit=1000")["logs"]]
        assert any(machine.address in message for message in messages)
        others = [other.address for other in three if other is not machine]
        assert not any(f"/32 host {address}" in message for message in messages for address in others)
    # A graceful stop waits for what runs; what waits stays; an immediate one does not.
    gate = tmp_path / "gate"
    running = view.submit(first, f"{wait_for(gate)}; echo done")
    await view.becomes(first, running, "running")
    waiting = view.submit(first, "echo later")
    stopping = asyncio.create_task(asyncio.to_thread(view.tell, first, "stop", {"timeout": 60, "reason": "night"}))
    await view.is_in(first, "stopping")
    gate.touch()
    assert (await stopping)["status"] == "stopped"
    assert (view.status(first), view.job(first, running)["status"]) == ("inactive", "completed")
    assert view.job(first, waiting)["status"] == "queued"
    await until(lambda: "takes no work" in first.said, what="the word of its worker")
    view.tell(first, "start")
    await view.becomes(first, waiting, "completed")
    await view.is_in(first, "active")
    endless = view.submit(second, "sleep 1000")
    await view.becomes(second, endless, "running")
    view.tell(second, "stop")
    assert (view.status(second), view.job(second, endless)["status"]) == ("inactive", "cancelled")
    # A restart is one of the worker's process.
    assert view.tell(third, "restart")["status"] == "restarting"
    await view.is_in(third, "active")
    await until(lambda: "Beginning anew" in third.said, what="the word of its worker")
    await view.becomes(third, view.submit(third, "true"), "completed")
    # The command line sees and does the same.
    command = CommandLine(own_server)

    async def cli(*words: str) -> str:
        code, out, err = await command("runners", *words, env={"RUNNER_TOKEN": "operator-key"})
        assert code == 0, err
        return out

    try:
        assert {row.split()[2] for row in (await cli("list")).splitlines()[1:]} == {"active", "inactive"}
        assert "machine-0" in await cli("top")
        assert "Runner status changed: active -> stopping (night)" in await cli("logs", "machine-0")
        assert json.loads(await cli("show", "machine-1", "--json"))["runner"]["state"] == "STATE_INACTIVE"
        assert "pass" in await cli("show", "machine-2", "--check")
    finally:
        command.close()


@pytest.mark.slow
async def test_a_machine_that_is_cut_off_is_unhealthy_then_in_error_and_comes_back_with_its_job(
    view: View, three: list[Machine]
) -> None:
    machine = three[0]
    job = view.submit(machine, "sleep 100; echo survived")
    await view.becomes(machine, job, "running")
    machine.cut_off()
    try:
        await until(
            lambda: view.of(machine, "/health")["health"] == "unhealthy", what="an unhealthy runner", seconds=120
        )
        assert view.status(machine) == "active"
        await view.is_in(machine, "error", seconds=120)
        assert view.tell(machine, "stop", status=503)["error"]["code"] == "RUNNER_UNAVAILABLE"
        body = {"name": "job", "steps": [{"name": "one", "run": "true"}]}
        assert view.tell(machine, "jobs", body, status=503)["error"]["code"] == "RUNNER_UNAVAILABLE"
        assert view.job(machine, job)["status"] == "running"
        seen = moment(view.of(machine)["metadata"]["last_seen"])
    finally:
        machine.connect_again()
    await view.is_in(machine, "active", seconds=60)
    await view.becomes(machine, job, "completed")
    logs = view.of(machine, "/logs?limit=1000")["logs"]
    assert "survived" in [entry["message"] for entry in logs]
    # It was up but for the time from when it was last heard of until it was counted on again.
    (back,) = [moment(entry["timestamp"]) for entry in logs if entry["message"].endswith("error -> active")]
    registered = moment(view.of(machine)["metadata"]["registered_at"])
    before = time.time()
    uptime = view.of(machine)["statistics"]["uptime_percentage"]
    least, most = (100 * (1 - (back - seen) / (now - registered)) for now in (before, time.time()))
    assert least - 0.01 <= uptime <= most + 0.01
    assert back - seen > 90


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
