"""Where the documents meet on one gateway: which of them answers, on every listener."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from free_ports import free_port
from sct_server import PATIENCE, SctServer
from sentinel_client import CONFIG, Sentinel

MEETINGS: list[tuple[str, str, int, Any]] = [
    # Testflinger's own, although an agent's id could stand there.
    ("GET", "/v1/agents/queues", 200, {"collide": "A queue"}),
    ("GET", "/v1/agents/data", 200, list),
    ("GET", "/v1/agents/images/logs", 200, {"focal": "url: http://focal"}),
    ("GET", "/v1/agents/images/events", 200, dict),
    ("GET", "/v1/agents/images/chat", 200, dict),
    ("GET", "/v1/agents/data/logs", 404, {}),
    # Nobody's: the agents refuse their reserved ids, and nothing is touched.
    ("DELETE", "/v1/agents/queues", 404, {"error": "Agent not found"}),
    ("DELETE", "/v1/agents/images", 404, {"error": "Agent not found"}),
    ("GET", "/v1/agents/images", 404, {"error": "Agent not found"}),
    ("GET", "/v1/agents/queues/logs", 404, {"error": "Agent not found"}),
    ("GET", "/v1/agents/provision_logs/logs", 404, {"error": "Agent not found"}),
    # Four dialects below /api, each with its own envelope.
    ("GET", "/api/agents/nobody", 404, {"error", "message"}),
    ("GET", "/api/v1/commands", 401, {"error", "message"}),
    ("GET", "/v1/nothing", 404, {"error"}),
    ("GET", "/nothing", 404, {"error", "message"}),
    ("GET", "/oidc/auth-init", 404, None),
    ("GET", "/v1/health", 200, {"status": "ok"}),
]


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two listeners of one server that has something of every kind."""
    other = f"127.0.0.1:{free_port()}"
    server = SctServer(tmp_path_factory.mktemp("collisions"), CONFIG, arguments=("--http", other))
    server.start()
    origins = [server.url, f"http://{other}"]
    with httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE) as http:
        sentinel = Sentinel(server.url)
        agent_id = sentinel.create()["id"]
        assert http.post("/v1/agents/queues", json={"collide": "A queue"}).status_code == 200
        assert http.post("/v1/agents/images", json={"logs": {"focal": "url: http://focal"}}).status_code == 200
        yield origins
        assert sentinel.agent(agent_id)["status"] == "running"
        assert http.get("/v1/agents/queues").json() == {"collide": "A queue"}
        sentinel.delete(agent_id)
        sentinel.http.close()
    server.stop()


@pytest.mark.parametrize(("method", "path", "status", "body"), MEETINGS, ids=[f"{row[0]} {row[1]}" for row in MEETINGS])
def test_one_document_answers(origins: list[str], method: str, path: str, status: int, body: Any) -> None:
    for origin in origins:
        reply = httpx.request(method, origin + path, trust_env=False, timeout=PATIENCE)
        assert reply.status_code == status, reply.text
        if body is None:
            continue
        found = reply.json()
        if isinstance(body, set):
            assert set(found) == body
        elif isinstance(body, type):
            assert isinstance(found, body)
        else:
            assert found == body


def test_health_is_the_union_and_needs_nobody(origins: list[str]) -> None:
    for origin in origins:
        reply = httpx.get(origin + "/health", timeout=60, trust_env=False)
        assert reply.status_code == 200 and {"status", "timestamp", "version"} <= set(reply.json())
