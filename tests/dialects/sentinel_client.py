"""What the tests of the SentinelStacks façade say to a server."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from sct_server import PATIENCE, SctServer, until
from websockets.asyncio.client import ClientConnection, connect

CONTRACT: dict[str, dict[str, Any]] = {
    each["id"].removeprefix("sentinel."): each
    for each in yaml.safe_load(Path(__file__).with_name("sentinel_contract.yaml").read_text())["endpoints"]
}
USER = {"username": "user", "password": "password"}
CONFIG: dict[str, Any] = {
    "sentinel": {"users": {"user": "password", "admin": "root"}},
    "executor": {"max_concurrent_jobs": 40},
    "server": {"cors_origins": ["*"]},
}
Frame = dict[str, Any]


class Sentinel:
    """A client of the façade."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)
        self.sockets = url.replace("http", "ws", 1)

    def login(self) -> dict[str, str]:
        reply = self.http.post("/v1/auth/login", json=USER)
        assert reply.status_code == 200, reply.text
        return {"Authorization": f"Bearer {reply.json()['token']}"}

    def create(self, image: str = "echo", **members: Any) -> dict[str, Any]:
        reply = self.http.post("/v1/agents", json={"image": image, **members})
        assert reply.status_code == 201, reply.text
        agent: dict[str, Any] = reply.json()
        return agent

    def agent(self, agent_id: str) -> dict[str, Any]:
        reply = self.http.get(f"/v1/agents/{agent_id}")
        assert reply.status_code == 200, reply.text
        agent: dict[str, Any] = reply.json()
        return agent

    def delete(self, agent_id: str) -> None:
        assert self.http.delete(f"/v1/agents/{agent_id}").status_code == 200

    def when(self, agent_id: str, status: str) -> dict[str, Any]:
        """The agent once it has this status."""

        def look() -> dict[str, Any] | None:
            agent = self.agent(agent_id)
            return agent if agent["status"] == status else None

        return until(look, f"the status {status}")

    def logs(self, agent_id: str, **query: Any) -> list[dict[str, Any]]:
        reply = self.http.get(f"/v1/agents/{agent_id}/logs", params=query)
        assert reply.status_code == 200, reply.text
        logs: list[dict[str, Any]] = reply.json()["logs"]
        return logs

    def push(self, program: str, *, name: str, **manifest: Any) -> None:
        """Pushes an image whose agent is a Python program."""
        said = {"entrypoint": ["python3", "-u", "agent.py"], **manifest}
        headers = self.login()
        body = {"name": name, "tag": "latest", "file": _base64(archive(program, said))}
        reply = self.http.post("/v1/registry/push", json=body, headers=headers)
        assert reply.status_code == 200, reply.text

    def chat(self, agent_id: str, **options: Any) -> connect:
        return connect(f"{self.sockets}/v1/agents/{agent_id}/chat", proxy=None, open_timeout=60, **options)

    def events(self, agent_id: str, **options: Any) -> connect:
        return connect(f"{self.sockets}/v1/agents/{agent_id}/events", proxy=None, open_timeout=60, **options)


async def say(socket: ClientConnection, **members: Any) -> None:
    await socket.send(json.dumps(members))


async def hear(socket: ClientConnection) -> Frame:
    frame: Frame = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))
    return frame


async def hear_until(socket: ClientConnection, ready: Callable[[Frame], object]) -> list[Frame]:
    """All frames up to the one for which ``ready`` holds."""
    frames = []
    while not (frames and ready(frames[-1])):
        frames.append(await hear(socket))
    return frames


def ends(frame: Frame) -> bool:
    """Nothing more comes for a message."""
    return frame["type"] in ("stream_end", "response", "error")


def archive(program: str, manifest: dict[str, Any]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        for name, data in (("agent.json", json.dumps(manifest).encode()), ("agent.py", program.encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            opened.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def open_sentinel(server: SctServer) -> Sentinel:
    return Sentinel(server.url)
