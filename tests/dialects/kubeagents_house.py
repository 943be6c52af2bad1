"""KubeAgents' façade and the native service of reports in this process, over a real store and a clock that is moved."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import yaml

from gateway import DEFAULT_ALLOWED, Gateway, GatewayOptions, HandlerCapture
from runner.dialects.common.v1 import health_service_pb2_grpc
from runner.dialects.kubeagents.v1 import agent_service_pb2_grpc
from runner.v1 import agent_report_service_pb2_grpc
from runner_service.dialects.common import HealthServicer
from runner_service.dialects.kubeagents import KubeAgentServicer
from runner_service.rpc.access import READ_HEADERS, Gatekeeper, read_rules
from runner_service.rpc.agent_reports import AgentReportServicer
from runner_service.rpc.forms import KubeAgentsForm
from runner_service.rpc.interceptors import GuardInterceptor
from runner_service.services.agent_reports import AgentReports
from runner_service.services.auth import ApiKey, Auth, Role
from runner_service.services.health import Health
from runner_service.store import SqlStore, open_store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))

from store_house import MovingClock

CONTRACT: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("kubeagents_contract.yaml").read_text())
WEBHOOK, AGENTS = "/webhook/status", "/api/agents"
START = "2023-11-14T22:13:20Z"
"""Where the clock stands at first."""


@dataclass
class KubeAgents:
    """A client of the façade, and what stands behind it."""

    http: httpx.AsyncClient
    clock: MovingClock
    store: SqlStore
    reports: AgentReports
    gateway: Gateway

    async def report(self, agent_id: str = "agent-001", topic: str = "task-001", **members: Any) -> httpx.Response:
        body = {"agent_id": agent_id, "session_topic": topic, "status": "running", "timestamp": START, **members}
        return await self.http.post(WEBHOOK, json={name: value for name, value in body.items() if value is not None})

    async def get(self, path: str, **query: str) -> Any:
        reply = await self.http.get(AGENTS + path, params=query)
        assert reply.status_code == 200, reply.text
        assert reply.headers["content-type"] == "application/json"
        return reply.json()


@asynccontextmanager
async def open_kubeagents(
    directory: Path,
    *,
    keys: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
    peer: str = "127.0.0.1",
    **options: Any,
) -> AsyncIterator[KubeAgents]:
    clock = MovingClock()
    async with open_store(f"sqlite:///{directory}/runner.db", clock=clock) as store:
        given: Mapping[str, Any] = {"keep_seconds": 86_400.0, **options}
        reports = AgentReports(store=store.agent_reports, signals=store.signals, clock=clock, **given)
        handlers = HandlerCapture()
        agent_service_pb2_grpc.add_AgentServiceServicer_to_server(KubeAgentServicer(reports), handlers)
        agent_report_service_pb2_grpc.add_AgentReportServiceServicer_to_server(AgentReportServicer(reports), handlers)
        health = Health(jobs=store.jobs, clock=clock, version="1")
        health_service_pb2_grpc.add_HealthServiceServicer_to_server(HealthServicer(health), handlers)
        auth = Auth(keys=[ApiKey.of("viewer-key", name="vic", role=Role.VIEWER)], workers=store.worker_credentials)
        form = KubeAgentsForm(auth=auth, keys=[ApiKey.of(key, name=key, role=Role.OPERATOR) for key in keys])
        guard = GuardInterceptor(
            Gatekeeper(
                auth=auth,
                rules=read_rules(handlers.services()),
                require_auth=False,
                insecure=False,
                forms={"runner.dialects.kubeagents.v1": form},
            )
        )
        gateway = Gateway(
            handlers=handlers,
            interceptors=[guard],
            descriptors=files("runner").joinpath("descriptors.binpb").read_bytes(),
            options=GatewayOptions(cors_origins=origins, allowed_headers=DEFAULT_ALLOWED | READ_HEADERS),
        )
        transport = httpx.ASGITransport(gateway, client=(peer, 5555))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", timeout=60) as http:
            yield KubeAgents(http, clock, store, reports, gateway)
