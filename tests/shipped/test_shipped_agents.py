"""The agents that come with the service, as programs: lines in, lines out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, model_server

import runner_service.shipped
from runner_service.domain.agent_lines import LineKind, read_line
from runner_service.shipped import NAMES, shipped_images

ROOT = Path(runner_service.shipped.__file__).parent


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


class Agent:
    """A shipped agent under way."""

    def __init__(self, name: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "agent.py"],
            cwd=ROOT / name,
            env={"PATH": "/usr/bin:/bin", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def say(self, **line: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        read = read_line(text.encode())
        assert read is not None and read.kind is not LineKind.NONSENSE, text
        line: dict[str, Any] = json.loads(text)
        return line

    def answer(self, content: str, message_id: str = "m", chat_id: str = "c") -> list[dict[str, Any]]:
        """All lines up to the end of an answer."""
        self.say(type="message", message_id=message_id, chat_id=chat_id, content=content)
        lines = [self.hear()]
        while lines[-1]["type"] not in ("end", "error"):
            lines.append(self.hear())
        return lines

    def close(self) -> int:
        _, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in errors
        return self.process.returncode


@pytest.fixture
def chatty(model: ModelServer) -> Iterator[Agent]:
    model.asked.clear()
    model.keys.clear()
    parameters = {"system_prompt": "Be kind.", "temperature": 0.25, "max_tokens": None, "history_messages": 4}
    agent = Agent(
        "openai-compatible",
        OPENAI_BASE_URL=model.url + "/",
        OPENAI_API_KEY="k",
        RUNNER_AGENT_MODEL="llama",
        RUNNER_AGENT_PARAMETERS=json.dumps(parameters),
    )
    yield agent
    assert agent.close() == 0


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(line["content"] for line in lines if line["type"] == "chunk")


def test_every_shipped_image_has_a_manifest_and_its_program() -> None:
    found = {name: (manifest, files) for name, manifest, files in shipped_images()}
    assert tuple(found) == NAMES
    for manifest, files in found.values():
        assert manifest.entrypoint == ("python3", "agent.py") and set(files) == {"agent.py"} and manifest.description


def test_echo_says_what_it_was_told_word_by_word() -> None:
    agent = Agent("echo")
    lines = agent.answer("  one  two\nthree ü")
    assert text_of(lines) == "  one  two\nthree ü" and len(lines) == 7
    assert lines[-2:] == [{"type": "usage", "tokens": 5}, {"type": "end", "message_id": "m"}]
    assert agent.answer("")[-1]["type"] == "end"
    agent.say(type="tool_request", request_id="q", tool="echo", parameters={"n": [1]})
    assert agent.hear() == {"type": "tool_result", "request_id": "q", "result": {"n": [1]}}
    agent.say(type="something new")
    agent.say(type="tool_request", request_id="q", tool="time", parameters={})
    assert agent.hear()["result"].endswith("Z")
    assert agent.close() == 0


def test_a_model_server_is_asked_as_it_expects(model: ModelServer, chatty: Agent) -> None:
    lines = chatty.answer("hello there ü")
    assert text_of(lines) == "hello there ü "
    assert [line["type"] for line in lines] == ["chunk", "chunk", "chunk", "usage", "end"]
    assert lines[-2] == {"type": "usage", "tokens": 11}
    (asked,) = model.asked
    assert asked == {
        "model": "llama",
        "temperature": 0.25,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello there ü"}],
    }
    assert model.keys == ["Bearer k"]


def test_a_chat_is_remembered_until_it_is_closed_and_apart_from_others(model: ModelServer, chatty: Agent) -> None:
    for text in ("one", "two", "three"):
        chatty.answer(text)
    assert [message["content"] for message in model.asked[-1]["messages"][1:]] == ["one ", "two", "two ", "three"]
    chatty.answer("other", chat_id="d")
    assert [message["content"] for message in model.asked[-1]["messages"][1:]] == ["other"]
    chatty.say(type="close", chat_id="c")
    chatty.answer("anew")
    assert [message["content"] for message in model.asked[-1]["messages"][1:]] == ["anew"]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("refuse", 'The model server answers 401: {"error": {"message": "wrong key"}}'),
        ("break off", "The model server cannot be used: the answer broke off"),
        ("error within", "The model server cannot be used: the model has gone"),
    ],
)
def test_what_the_model_server_does_wrong_is_an_error_and_not_remembered(
    model: ModelServer, chatty: Agent, said: str, error: str
) -> None:
    assert chatty.answer(said)[-1] == {"type": "error", "message_id": "m", "error": error}
    chatty.answer("again")
    assert [message["content"] for message in model.asked[-1]["messages"][1:]] == ["again"]


def test_a_server_that_is_away_is_an_error() -> None:
    agent = Agent("openai-compatible", OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    line = agent.answer("hello")[-1]
    assert line["type"] == "error" and "cannot be used" in line["error"]
    assert agent.close() == 0


def test_without_a_server_it_says_what_to_set() -> None:
    agent = Agent("openai-compatible")
    _, errors = agent.process.communicate(timeout=60)
    assert agent.process.returncode == 1 and "OPENAI_BASE_URL" in errors
