"""What settings change: logins for everything, a registry elsewhere; and what holds where documents meet."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sct_server import ROOT, SctServer, free_port, refused
from sentinel_client import CONFIG, Sentinel, ends, hear, hear_until, say

sys.path.insert(0, str(ROOT / "tests" / "registries"))

from docker_registry import docker_registry

SHOUT = """
import json, sys
for text in sys.stdin:
    line = json.loads(text)
    if line["type"] == "message":
        print(json.dumps({"type": "end", "message_id": line["message_id"], "content": line["content"].upper()}))
"""


async def test_with_require_auth_all_but_the_sockets_want_a_token(make_server: Callable[..., SctServer]) -> None:
    config = {**CONFIG, "sentinel": {**CONFIG["sentinel"], "require_auth": True}}
    sentinel = Sentinel(make_server(config).url)
    for method, path in (("GET", "/v1/agents"), ("POST", "/v1/agents"), ("GET", "/v1/images"), ("GET", "/v1/agents/x")):
        reply = sentinel.http.request(method, path, json={"image": "echo"})
        assert (reply.status_code, reply.json()) == (401, {"error": "Authorization header required"})
    sentinel.http.headers.update(sentinel.login())
    agent_id = sentinel.create()["id"]
    async with sentinel.chat(agent_id) as chat, sentinel.events(agent_id) as events:
        assert (await hear(chat))["event_type"] == "connection_established"
        assert (await hear(events))["event_type"] == "agent_status"
    sentinel.delete(agent_id)
    sentinel.http.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry (Debian package) is not installed")
    with docker_registry(tmp_path) as url:
        yield url


async def test_images_of_directories_are_there_from_the_start(
    make_server: Callable[..., SctServer], tmp_path: Path
) -> None:
    directory = tmp_path / "shout"
    (directory / "lib").mkdir(parents=True)
    (directory / "agent.json").write_text('{"entrypoint": ["python3", "-u", "lib/agent.py"], "model": "loud"}')
    (directory / "lib" / "agent.py").write_text(SHOUT)
    images = {"me/shout:v2": str(directory)}
    sentinel = Sentinel(make_server(CONFIG | {"agents": {"images": images, "shipped_images": False}}).url)
    (image,) = sentinel.http.get("/v1/images").json()["images"]
    assert (image["name"], image["tag"], image["llm"]) == ("me/shout", "v2", "loud")
    agent_id = sentinel.create("me/shout:v2")["id"]
    async with sentinel.chat(agent_id) as chat:
        await hear(chat)
        await say(chat, type="message", content="hello")
        assert (await hear_until(chat, ends))[-1]["content"] == "HELLO"
    sentinel.delete(agent_id)
    sentinel.http.close()


def test_a_directory_that_is_no_image_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    config = f"agents: {{images: {{me/none: {tmp_path}/nowhere}}}}"
    said = refused("--http", f"127.0.0.1:{free_port()}", "--grpc", "127.0.0.1:0", config=config, directory=tmp_path)
    assert "agents.images: me/none cannot be made from" in said


async def test_an_image_goes_through_a_real_registry_to_an_agent_elsewhere(
    make_server: Callable[..., SctServer], registry: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config: dict[str, Any] = {**CONFIG, "agents": {"registry_url": registry, "shipped_images": False}}
    here = Sentinel(make_server(config).url)
    here.push(SHOUT, name="me/shout", model="loud")
    pushed = here.http.get("/v1/images/me%2Fshout").json()
    here.http.close()

    server = SctServer(tmp_path_factory.mktemp("elsewhere"), config)
    server.start()
    try:
        there = Sentinel(server.url)
        assert there.http.get("/v1/images").json() == {"images": []}
        found = there.http.get("/v1/registry/search", params={"q": "shout"}, headers=there.login()).json()
        assert [(each["name"], each["id"], each["llm"]) for each in found["results"]] == [
            ("me/shout", pushed["id"], "loud")
        ]
        agent_id = there.create("me/shout")["id"]
        async with there.chat(agent_id) as chat:
            await hear(chat)
            await say(chat, type="message", content="hello")
            assert (await hear_until(chat, ends))[-1]["content"] == "HELLO"
        shown = there.http.get("/v1/images/me%2Fshout").json()
        assert (shown["id"], shown["size"]) == (pushed["id"], pushed["size"])
        there.delete(agent_id)
        there.http.close()
    finally:
        server.close()
