"""Where Testflinger's paths meet those of SentinelStacks (collisions.md, C2 to C9 and C12), on one server."""

from __future__ import annotations

import httpx
import pytest
from testflinger_server import LabServer
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

NO_AGENT = {"error": "Agent not found"}


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        # Literal before parameter.
        ("GET", "/v1/agents/data", 200, list),
        ("GET", "/v1/agents/queues", 200, dict),
        ("GET", "/v1/job/search", 200, list),
        # Queues called logs, events and chat; an agent called logs.
        ("GET", "/v1/agents/images/logs", 200, {}),
        ("GET", "/v1/agents/images/events", 200, {}),
        ("GET", "/v1/agents/images/chat", 200, {}),
        ("GET", "/v1/agents/data/logs", 404, {}),
        # A literal that knows the path but not the method is no agent's id either.
        ("DELETE", "/v1/agents/queues", 404, NO_AGENT),
        ("GET", "/v1/agents/images", 404, NO_AGENT),
        ("GET", "/v1/agents/queues/logs", 404, NO_AGENT),
        ("GET", "/v1/agents/provision_logs/logs", 404, NO_AGENT),
        ("PATCH", "/v1/agents/images/x", 405, {"detail": {}, "message": "Method Not Allowed"}),
        ("GET", "/v1/queues/x/y/z", 404, {"detail": {}, "message": "Not Found"}),
    ],
)
def test_a_path_has_one_owner(plain: httpx.Client, method: str, path: str, status: int, body: object) -> None:
    reply = plain.request(method, path)
    assert reply.status_code == status
    got = reply.json()
    assert isinstance(got, body) if isinstance(body, type) else got == body


def test_deleting_what_is_no_agent_leaves_queues_alone(plain: httpx.Client) -> None:
    plain.post("/v1/agents/queues", json={"kept": "here"})
    plain.delete("/v1/agents/queues")
    assert plain.get("/v1/agents/queues").json()["kept"] == "here"


def test_agents_and_images_of_one_api_show_in_no_other(plain: httpx.Client) -> None:
    plain.post("/v1/agents/data/lab-machine", json={"state": "waiting"})
    plain.cookies.clear()
    assert "lab-machine" not in plain.get("/v1/agents").text
    assert plain.get("/v1/agents/lab-machine").status_code == 404
    plain.post("/v1/agents/images", json={"q": {"lab-image": "url: x"}})
    assert "lab-image" not in plain.get("/v1/images").text


def test_a_websocket_to_images_chat_gets_testflinger_s_answer(lab: LabServer) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://127.0.0.1:{lab.port}/v1/agents/images/chat", proxy=None, open_timeout=60),
    ):
        pass
    assert refused.value.response.status_code in (200, 404, 426)
