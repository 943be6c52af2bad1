"""A server for RustCI's clients, and what its tests say to it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import yaml
from free_ports import free_port
from sct_server import PATIENCE, SctServer, until
from store_house import register

from runner_service.domain.runner_config import ResourceLimits, RunnerConfig
from runner_service.domain.runners import Runner, RunnerKind, RunnerProfile, RunnerState
from runner_service.store import open_store

CONTRACT: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("rustci_contract.yaml").read_text())
ENDPOINTS: dict[str, dict[str, Any]] = {each["id"]: each for each in CONTRACT["endpoints"]}
ORIGIN: str = CONTRACT["origin"]
DOCUMENTED: str = CONTRACT["documented_runner_id"]
RUNNERS = "/api/runners"
PAGE_ORIGIN = f"http://127.0.0.1:{free_port()}"
"""Of the pages of another site."""
UNLIMITED = {
    "rate_limits": {"registration": 0, "status": 0, "submission": 0, "bulk": 0},
    "server": {"cors_origins": [PAGE_ORIGIN]},
}
NEW = {"name": "n", "type": "native", "host": "localhost", "port": 1}

Answer = dict[str, Any]


class RustCi:
    """A client of the façade: plain HTTP."""

    def __init__(self, server: SctServer, **options: Any) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False, **options)

    def ask(self, method: str, path: str = "", *, status: int = 200, **options: Any) -> Any:
        reply = self.http.request(method, f"{RUNNERS}{path}", **options)
        assert reply.status_code == status, reply.text
        assert reply.headers["content-type"] == "application/json"
        return reply.json()

    def register(self, **fields: Any) -> str:
        found: str = self.ask("POST", "/register", json={**NEW, **fields}, status=201)["runner_id"]
        return found

    def submit(self, runner_id: str, *scripts: str, **fields: Any) -> str:
        steps = [{"name": f"step{place}", "run": script} for place, script in enumerate(scripts)]
        body = {"name": "job", "steps": steps, **fields}
        found: str = self.ask("POST", f"/{runner_id}/jobs", json=body, status=201)["job_id"]
        return found

    def jobs(self, runner_id: str, **query: str) -> list[Answer]:
        found: list[Answer] = self.ask("GET", f"/{runner_id}/jobs", params=query)["jobs"]
        return found

    def job(self, runner_id: str, job_id: str) -> Answer:
        (found,) = [job for job in self.jobs(runner_id) if job["job_id"] == job_id]
        return found

    def ended(self, runner_id: str, job_id: str) -> Answer:
        def look() -> Answer | None:
            job = self.job(runner_id, job_id)
            return job if job["status"] not in ("queued", "running") else None

        return until(look, "the end of the job")

    def running(self, runner_id: str, job_id: str) -> None:
        until(lambda: self.job(runner_id, job_id)["status"] == "running", "the start of the job")

    def logs(self, runner_id: str, **query: str) -> list[Answer]:
        found: list[Answer] = self.ask("GET", f"/{runner_id}/logs", params=query)["logs"]
        return found

    def status(self, runner_id: str) -> str:
        found: str = self.ask("GET", f"/{runner_id}/status")["status"]
        return found


def add_documented_runner(server: SctServer) -> str:
    """The runner whose id the document writes everywhere, put into the store; its id as the document writes it."""
    limits = ResourceLimits(cpu_limit="2000m", memory_limit="4Gi", disk_limit="10Gi")
    runner = Runner(
        runner_id=DOCUMENTED,
        name="docker-runner-1",
        state=RunnerState.ACTIVE,
        registered_at=0,
        kind=RunnerKind.DOCKER,
        hosted=True,
        most_jobs=5,
    )
    profile = RunnerProfile(
        runner_id=DOCUMENTED,
        host="localhost",
        port=8081,
        capabilities=("docker",),
        config=RunnerConfig(max_concurrent_jobs=5, job_timeout=3600, resource_limits=limits),
    )

    async def add() -> None:
        async with open_store(f"sqlite:///{server.data}/runner.db") as store:
            await register(store, runner, profile)

    asyncio.run(add())
    return f"runner_{DOCUMENTED}"


def events_of(reply: httpx.Response, count: int) -> list[tuple[str, str, Answer]]:
    """Some events of a stream: id, event, data."""
    found: list[tuple[str, str, Answer]] = []
    fields: dict[str, str] = {}
    for line in reply.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            found.append((fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"])))
            fields = {}
            if len(found) == count:
                break
    return found
