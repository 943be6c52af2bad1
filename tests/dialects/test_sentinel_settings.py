"""What settings change: logins for everything, a registry elsewhere; and what holds where documents meet."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from free_ports import free_port
from sct_server import ROOT, RUNNER, SctServer, clean_environment, refused
from sentinel_client import CONFIG, Sentinel, ends, hear, hear_until, say
from websockets.asyncio.client import connect

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


@pytest.mark.slow
async def test_under_tls_endpoints_are_wss_and_can_be_talked_with(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, key, port = tmp_path / "cert.pem", tmp_path / "key.pem", free_port()
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    command += f" -addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    command = (
        f"{RUNNER} api -p {port} --grpc 127.0.0.1:0 --tls-cert {certificate} --tls-key {key} --data-dir {tmp_path}/d"
    )
    server = subprocess.Popen(
        command.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()
    )
    try:
        assert server.stdout is not None
        assert "ready" in server.stdout.readline()
        trusting = ssl.create_default_context(cafile=certificate)
        with httpx.Client(base_url=f"https://localhost:{port}", verify=trusting, trust_env=False, timeout=60) as http:
            agent = http.post("/v1/agents", json={"image": "echo"}).json()
            assert agent["endpoints"]["chat"] == f"wss://localhost:{port}/v1/agents/{agent['id']}/chat"
            async with connect(agent["endpoints"]["chat"], ssl=trusting, proxy=None, open_timeout=60) as chat:
                await hear(chat)
                await say(chat, type="message", content="hello", stream=False)
                assert (await hear_until(chat, ends))[-1]["content"] == "hello"
            assert http.delete(f"/v1/agents/{agent['id']}").status_code == 200
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=60)
    assert server.returncode == 0 and "no --token-auth-secret" in errors


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


@pytest.mark.slow
def test_a_directory_that_is_no_image_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    config = f"agents: {{images: {{me/none: {tmp_path}/nowhere}}}}"
    said = refused("--http", f"127.0.0.1:{free_port()}", "--grpc", "127.0.0.1:0", config=config, directory=tmp_path)
    assert "agents.images: me/none cannot be made from" in said


@pytest.mark.slow
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
