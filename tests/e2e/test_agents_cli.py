"""`runner images` and `runner agents`: from a directory of one's own to an answer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import jwt
import pytest
from e2e_command_line import CommandLine
from e2e_server import RUNNER, ServerProcess, environment_of
from free_ports import free_port

from runner_service.commands import API_DEFAULTS, _api_parser
from runner_service.config import load

AGENT = """
import json, sys
for text in sys.stdin:
    line = json.loads(text)
    if line["type"] == "message":
        print("answering", file=sys.stderr)
        say = lambda **members: print(json.dumps({"message_id": line["message_id"], **members}))
        if line["content"] == "fail":
            say(type="error", error="I cannot")
        else:
            say(type="chunk", content=line["content"].upper())
            say(type="end")
"""
MANIFEST = "entrypoint: [python3, -u, agent.py]\nmodel: loud\ndescription: Shouts\n"


@pytest.fixture
def runner(server: ServerProcess, command_line: Callable[[ServerProcess], CommandLine]) -> CommandLine:
    return command_line(server)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "agent.yaml").write_text(MANIFEST)
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"x")
    return tmp_path


async def test_a_directory_becomes_an_agent_that_answers(runner: CommandLine, directory: Path) -> None:
    code, pushed, _ = await runner("images", "push", "me/shout:v1", str(directory))
    assert code == 0 and pushed.startswith("sha256:")
    assert await runner("images", "push", "me/shout:v1", str(directory)) == (0, pushed, "")
    _, listed, _ = await runner("images", "list")
    row = next(line.split() for line in listed.splitlines() if line.startswith("me/shout"))
    assert row[:3] == ["me/shout", "v1", pushed.strip().removeprefix("sha256:")[:12]]
    _, shown, _ = await runner("images", "show", "me/shout:v1")
    assert json.loads(shown)["manifest"]["entrypoint"] == ["python3", "-u", "agent.py"]

    code, made, _ = await runner("agents", "run", "me/shout:v1", "--name", "loud", "-e", "A=b")
    agent_id = made.strip()
    assert code == 0
    assert await runner("agents", "chat", agent_id, "hello") == (0, "HELLO\n", "")
    failed = await runner("agents", "chat", agent_id, "fail")
    assert failed[0] == 1 and "I cannot" in failed[2]
    frames = [json.loads(line) for line in (await runner("agents", "chat", "--json", agent_id, "x"))[1].splitlines()]
    assert [frame["kind"] for frame in frames][-3:] == [
        "KIND_STREAM_START", "KIND_STREAM_CHUNK", "KIND_STREAM_END",
    ]  # fmt: skip
    chat = runner.start("agents", "chat", agent_id, stdin=subprocess.PIPE)
    out, _ = chat.communicate(b"one\n\ntwo\n", timeout=60)
    assert (chat.returncode, out) == (0, b"ONE\nTWO\n")

    _, table, _ = await runner("agents", "list")
    assert next(line for line in table.splitlines() if agent_id in line).split()[1:5] == [
        "managed",
        "loud",
        "running",
        "me/shout:v1",
    ]
    _, log, _ = await runner("agents", "logs", agent_id)
    assert "answering" in log and "Agent started" in log
    assert (await runner("ps"))[1].splitlines()[1].startswith(agent_id)
    assert await runner("agents", "rm", agent_id) == (0, made, "")
    gone = await runner("agents", "show", agent_id)
    assert gone[0] == 1 and "There is no agent" in gone[2]

    assert (await runner("images", "rm", "me/shout:v1"))[0] == 0
    assert (await runner("images", "show", "me/shout:v1"))[0] == 1
    assert "me/shout" in (await runner("images", "search", "SHOUT"))[1]
    assert await runner("images", "pull", "me/shout:v1") == (0, pushed, "")


async def test_an_agent_that_cannot_run_says_so(runner: CommandLine) -> None:
    code, out, err = await runner("agents", "run", "no/such")
    assert code == 1 and "there is no image no/such" in err
    await runner("agents", "rm", out.strip())


@pytest.mark.parametrize(
    "arguments",
    [
        ("agents", "run", "echo", "--parameters", "[1]"),
        ("images", "push", "a"),
        ("images", "push", "a", "/", "--from", "b"),
        ("agents", "run", "echo", "-e", "novalue"),
    ],
)
async def test_a_wrong_command_line_is_2(runner: CommandLine, arguments: tuple[str, ...]) -> None:
    assert (await runner(*arguments))[0] == 2


async def test_a_directory_without_a_manifest_is_none(runner: CommandLine, tmp_path: Path) -> None:
    code, _, err = await runner("images", "push", "a", str(tmp_path))
    assert code == 2 and "agent.json" in err


def test_api_has_the_documented_flags_and_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {option for action in _api_parser()._actions for option in action.option_strings}
    documented = {
        "--port",
        "-p",
        "--host",
        "--tls-cert",
        "--tls-key",
        "--token-auth-secret",
        "--cors",
        "--log-requests",
    }
    assert documented <= names
    given = _api_parser().parse_args(["-p", "1", "--cors=false", "--log-requests", "false", "--token-auth-secret", "x"])
    assert (given.port, given.cors, given.log_requests, given.token_auth_secret) == (1, False, False, "x")

    def server(**flags: object) -> tuple[str, int, bool, tuple[str, ...]]:
        found = load(tmp_path / "none.yaml", {"server": flags}, {"server": API_DEFAULTS}).server
        return found.host, found.port, found.log_requests, found.cors_origins

    assert server() == ("localhost", 8080, True, ("*",))
    # A flag wins over the environment, that over a file, and that over what the document gives as the default.
    (tmp_path / "none.yaml").write_text("server: {port: 9001, log_requests: false, cors_origins: [http://file]}")
    assert server() == ("localhost", 9001, False, ("http://file",))
    monkeypatch.setenv("PORT", "9002")
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "http://a, http://b")
    assert server() == ("localhost", 9002, False, ("http://a", "http://b"))
    assert server(port=9003, host="127.0.0.1") == ("127.0.0.1", 9003, False, ("http://a", "http://b"))


async def test_api_serves_pages_of_no_origin_and_logs_no_request_where_its_flags_say_so(tmp_path: Path) -> None:
    port = free_port()
    command = [str(RUNNER), "api", "--port", str(port), "--host", "127.0.0.1", "--cors=false", "--log-requests=false"]
    command += ["--data-dir", str(tmp_path / "api"), "--grpc", "127.0.0.1:0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_of(), start_new_session=True
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        assert f"127.0.0.1:{port} grpc" in process.stdout.readline()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            for path in ("/v1/images", "/api/agents", "/health", "/api/v2/jobs"):
                page = await client.get(path, headers={"Origin": "http://a.example"})
                assert "access-control-allow-origin" not in page.headers
                assert (await client.get(path)).status_code == 200
            ask = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}
            preflight = await client.options("/v1/agents", headers=ask)
            assert "access-control-allow-origin" not in preflight.headers
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "/v1/images" not in errors and "no --token-auth-secret" in errors


async def test_api_serves_with_its_flags(tmp_path: Path) -> None:
    port = free_port()
    secret = "a secret of more than thirty-two bytes, as HS256 wants"
    command = [str(RUNNER), "api", "-p", str(port), "--data-dir", str(tmp_path / "api"), "--grpc", "127.0.0.1:0"]
    command += ["--token-auth-secret", secret]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_of(), start_new_session=True
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        assert f":{port} grpc" in process.stdout.readline()
        async with httpx.AsyncClient(base_url=f"http://localhost:{port}", timeout=60, trust_env=False) as client:
            reply = await client.post("/v1/auth/login", json={"username": "x", "password": "y"})
            claims = jwt.decode(reply.json()["token"], secret, algorithms=["HS256"])
            assert (claims["username"], claims["admin"], claims["iss"]) == ("x", False, "sentinelstacks-api")
            assert claims["exp"] - claims["iat"] == 24 * 3600
            page = await client.get("/v1/images", headers={"Origin": "http://a.example"})
            assert page.headers["access-control-allow-origin"] == "*"
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "POST /v1/auth/login 200 in" in errors and "--token-auth-secret" not in errors
