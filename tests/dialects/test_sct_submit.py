"""contract/sct.md §4: what a POST takes, and what it refuses with the member's name."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from sct_server import COMMANDS, JSON, Sct

REFUSED = [
    pytest.param(b"", "body", id="s4: empty body"),
    pytest.param(b"   ", "", id="s4: blank body"),
    pytest.param(b"{", "JSON", id="s4: cut JSON"),
    pytest.param(b"command=echo", "JSON", id="s4: no JSON"),
    pytest.param(b"\xff", "JSON", id="s4: no UTF-8"),
    pytest.param(b"[]", "object", id="s4: a list"),
    pytest.param(b"null", "object", id="s4: null"),
    pytest.param(b'"echo"', "object", id="s4: a string"),
    pytest.param(b"5", "object", id="s4: a number"),
    pytest.param(b"[" * 100_000, "", id="s4: nested without end"),
    pytest.param(b"{}", "command", id="s4: no command"),
    pytest.param(b'{"command": ""}', "command", id="s4: empty command"),
    pytest.param(b'{"command": null}', "command", id="s4: null command"),
    pytest.param(b'{"command": 1}', "command", id="s4: command is a number"),
    pytest.param(b'{"command": ["echo"]}', "command", id="s4: command is a list"),
    pytest.param(b'{"command": "a\\u0000b"}', "args", id="s4: NUL in the command"),
    pytest.param(b'{"command": "a\\ud800"}', "", id="s4: half a surrogate pair"),
    pytest.param(b'{"command": "true", "args": "x"}', "args", id="s4: args is a string"),
    pytest.param(b'{"command": "true", "args": {}}', "args", id="s4: args is an object"),
    pytest.param(b'{"command": "true", "args": [1]}', "args", id="s4: an argument is a number"),
    pytest.param(b'{"command": "true", "args": ["\\u0000"]}', "args", id="s4: NUL in an argument"),
    pytest.param(b'{"command": "true", "timeout": "5"}', "timeout", id="s4: timeout is a string"),
    pytest.param(b'{"command": "true", "timeout": 1.5}', "timeout", id="s4: timeout is a fraction"),
    pytest.param(b'{"command": "true", "timeout": true}', "timeout", id="s4: timeout is a boolean"),
    pytest.param(b'{"command": "true", "timeout": 9223372036854775808}', "timeout", id="s4: timeout over 64 bits"),
    pytest.param(b'{"command": "true", "working_dir": 5}', "working_dir", id="s4: working_dir is a number"),
    pytest.param(b'{"command": "true", "working_dir": "/a\\u0000"}', "working_dir", id="s4: NUL in working_dir"),
    pytest.param(b'{"command": "true", "env": []}', "env", id="s4: env is a list"),
    pytest.param(b'{"command": "true", "env": {"A": 1}}', "env", id="s4: a variable is a number"),
    pytest.param(b'{"command": "true", "env": {"A=B": "1"}}', "env", id="s4: no name of a variable"),
    pytest.param(b'{"command": "true", "env": {"": "1"}}', "env", id="s4: empty name of a variable"),
    pytest.param(b'{"command": "true", "env": {"A": "\\u0000"}}', "env", id="s4: NUL in a variable"),
    pytest.param(b'{"command": "true", "priority": 5}', "priority", id="s4: priority is a number"),
    pytest.param(b'{"command": "true", "tags": ["a"]}', "tags", id="s4: tags is a list"),
    pytest.param(b'{"command": "true", "tags": {"a": 5}}', "tags", id="s4: a tag is a number"),
]


@pytest.mark.parametrize(("body", "named"), REFUSED)
def test_a_request_that_is_none_is_400_and_names_the_member(sct: Sct, body: bytes, named: str) -> None:
    before = sct.list(limit=1)["total"]
    reply = sct.http.post(COMMANDS, content=body)
    assert reply.status_code == 400
    assert reply.headers["content-type"] == JSON
    answer = reply.json()
    assert set(answer) == {"error", "message"}
    assert answer["error"] == "Invalid request format"
    assert answer["message"] and named in answer["message"]
    assert sct.list(limit=1)["total"] == before


TAKEN = [
    pytest.param(b'{"command": "true", "unknown": {"a": [1, null]}}', id="s4: unknown members"),
    pytest.param(b'{"command": "true", "workingDir": "/nowhere"}', id="s4: another spelling is an unknown member"),
    pytest.param(b'{"command": "true", "idempotency_key": 5}', id="s4: the key is a header only"),
    pytest.param(b'{"command": "true"} and more', id="s4: text after the value"),
    pytest.param(b'{"command": "true"}{"command": "false"}', id="s4: a second value"),
    pytest.param(b' \n\t{"command": "true"}\n', id="s4: white space around"),
    pytest.param(
        b'{"command": "true", "args": null, "env": null, "tags": null, "timeout": null, "priority": null}',
        id="s4: null is absent",
    ),
    pytest.param(
        b'{"command": "true", "args": [], "env": {}, "tags": {}, "timeout": 0, "priority": "", "working_dir": ""}',
        id="s4: empty is absent",
    ),
]


@pytest.mark.parametrize("body", TAKEN)
def test_what_is_taken_runs_with_all_defaults(sct: Sct, body: bytes) -> None:
    reply = sct.http.post(COMMANDS, content=body)
    assert reply.status_code == 200, reply.text
    job = sct.ended(reply.json()["job_id"])
    assert {name: job.get(name) for name in ("command", "status", "exit_code", "timeout", "priority")} == {
        "command": "true",
        "status": "completed",
        "exit_code": 0,
        "timeout": 1800,
        "priority": "normal",
    }
    assert not {"args", "env", "tags", "working_dir", "stdout", "stderr", "error"} & set(job)


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "nonsense", "application/json;x"]
)
def test_the_content_type_is_not_looked_at(sct: Sct, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    reply = sct.http.post(COMMANDS, content=b'{"command": "true"}', headers=headers)
    assert reply.status_code == 200
    sct.ended(reply.json()["job_id"])


def test_the_answer_has_exactly_its_five_members(sct: Sct) -> None:
    answer = sct.post({"command": "/bin/true"}).json()
    assert list(answer) == ["job_id", "status", "created_at", "command", "message"]
    assert answer["status"] == "queued"
    assert answer["command"] == "/bin/true"
    assert answer["message"] == "Command queued successfully"
    job = sct.ended(answer["job_id"])
    assert job["created_at"] == answer["created_at"]


ASKED: dict[str, Any] = {
    "command": "/bin/true",
    "args": ["", "a b", "$HOME", "`x`", "ä€😀", '"', "\\", "\n"],
    "working_dir": "/tmp",
    "env": {"A": "1", "EMPTY": "", "UMLAUT": "ä"},
    "timeout": 77,
    "priority": "whatever they want",
    "tags": {"test": "longevity", "node": "db-1", "": ""},
}


def test_what_was_asked_is_echoed_as_it_was(sct: Sct) -> None:
    reply = sct.post(ASKED)
    assert reply.status_code == 200, reply.text
    job = sct.ended(reply.json()["job_id"])
    assert {name: job[name] for name in ASKED} == ASKED


@pytest.mark.parametrize("asked", ["tmp", "./tmp", "/tmp/../tmp/"])
def test_a_working_dir_is_echoed_as_it_was_and_a_relative_one_counts_from_the_root(sct: Sct, asked: str) -> None:
    job = sct.run("pwd -P", working_dir=asked)
    assert (job["working_dir"], job["stdout"]) == (asked, "/tmp\n")


def test_arguments_reach_the_command_exactly_and_no_shell_sees_them(sct: Sct) -> None:
    arguments = ["", "a b", "$HOME", "`x`", "ä€", "*", "--", "a\nb"]
    job = sct.ended(sct.submit("printf", "<%s>", *arguments))
    assert job["stdout"] == "".join(f"<{argument}>" for argument in arguments)


def test_the_timeout_in_force_is_shown(sct: Sct) -> None:
    assert sct.run("true", timeout=0)["timeout"] == 1800
    assert sct.run("true", timeout=5)["timeout"] == 5
    assert sct.run("true", timeout=10**12)["timeout"] == 366 * 24 * 3600


@pytest.mark.parametrize("seconds", [-1, -5, -(10**15)])
def test_a_negative_timeout_is_taken_and_the_job_fails_at_once(sct: Sct, seconds: int) -> None:
    job = sct.job(sct.sh("touch /tmp/never-$$", timeout=seconds))
    assert job["status"] == "failed"
    assert (job["exit_code"], job["error"], job["stderr"]) == (-1, "command timed out", "Command execution timed out")
    assert job["completed_at"] == job["created_at"]
    assert not {"started_at", "stdout", "duration_ms"} & set(job)


def test_a_large_command_of_a_file_transfer_is_taken(sct: Sct) -> None:
    text = "QUJD" * 24_000
    job = sct.run(f"base64 -d <<'EOF' | wc -c\n{text}\nEOF")
    assert job["stdout"].strip() == str(len(text) // 4 * 3)


def test_an_argument_over_the_kernels_limit_fails_and_says_so(sct: Sct) -> None:
    job = sct.ended(sct.submit("true", "x" * 200_000))
    assert (job["status"], job["exit_code"]) == ("failed", -1)
    assert job["error"].startswith("failed to start command: ")


def test_a_gzipped_body_is_taken(sct: Sct) -> None:
    body = gzip.compress(json.dumps({"command": "true"}).encode())
    reply = sct.http.post(COMMANDS, content=body, headers={"Content-Encoding": "gzip"})
    assert reply.status_code == 200
    sct.ended(reply.json()["job_id"])
