"""Containers that nobody accompanies: gone when their removal returns, whoever else is at it. A scripted engine."""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner_service.worker.supervisor.container import leftovers
from runner_service.worker.supervisor.container.engine import EngineAway
from runner_service.worker.supervisor.container.leftovers import Note, remove_leftovers

IN_PROGRESS = 409, {"message": "removal of container a is already in progress"}


class ScriptedEngine(socketserver.UnixStreamServer):
    """Lists containers; each is removed at the last of its answers."""

    def __init__(self, path: str) -> None:
        super().__init__(path, _Request)
        self.asked: list[str] = []
        self.containers: dict[str, list[tuple[int, object]]] = {}

    def answer(self, method: str, path: str) -> tuple[int, object]:
        self.asked.append(method)
        if method == "GET":
            return 200, [{"Id": name, "Labels": {"runner-service.attempt": name}} for name in self.containers]
        name = path.partition("?")[0].rpartition("/")[2]
        if name not in self.containers:
            return 404, {"message": f"No such container: {name}"}
        status, body = self.containers[name].pop(0)
        if not self.containers[name]:
            del self.containers[name]
        return status, body


class _Request(socketserver.StreamRequestHandler):
    server: ScriptedEngine

    def handle(self) -> None:
        method, path, _ = self.rfile.readline().decode().split(" ")
        while self.rfile.readline().strip():
            pass
        status, body = self.server.answer(method, path)
        self.wfile.write(f"HTTP/1.0 {status} \r\n\r\n".encode() + json.dumps(body).encode())


@pytest.fixture
def scripted() -> Iterator[ScriptedEngine]:
    with tempfile.TemporaryDirectory() as directory, ScriptedEngine(str(Path(directory) / "s")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_one_that_somebody_else_is_removing_is_gone_too(scripted: ScriptedEngine) -> None:
    scripted.containers = {"a": [IN_PROGRESS, IN_PROGRESS], "b": [(204, None)]}
    assert remove_leftovers(Note(str(scripted.server_address), "word")) == 1
    assert scripted.containers == {}
    assert scripted.asked == ["GET", "DELETE", "DELETE", "GET", "DELETE", "GET"]


def test_those_of_live_attempts_stay(scripted: ScriptedEngine) -> None:
    scripted.containers = {"a": [(204, None)], "b": [(204, None)]}
    assert remove_leftovers(Note(str(scripted.server_address), "word"), lambda: ["b"]) == 1
    assert list(scripted.containers) == ["b"]


def test_one_that_does_not_go_is_said(scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "BUDGET_SECONDS", 0.05)
    scripted.containers = {"a": [IN_PROGRESS] * 1000}
    with pytest.raises(EngineAway):
        remove_leftovers(Note(str(scripted.server_address), "word"))
