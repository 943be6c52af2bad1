"""Every error that the contract of RustCI's runner API lists, and what else is refused: status, code, envelope."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from contract_shapes import check_shape
from rustci_rows import drives
from rustci_server import CONTRACT, DOCUMENTED, NEW, RustCi

JOB: dict[str, Any] = {"name": "j", "steps": [{"name": "a", "run": "true"}]}
FORMAT: dict[str, Any] = CONTRACT["error_format"]
NOBODY = ("runner_123", "nobody", DOCUMENTED, "register", "runner_" + "0" * 200)
"""Ids that no runner has, of all forms."""

Cause = tuple[str, str, Any]
"""What it is, what follows the path of the endpoint (for its runner), and what is sent: text as it is, else JSON."""

CAUSES: dict[str, list[Cause]] = {
    "register_runner/400": [
        ("no JSON", "", "{"),
        ("no object", "", []),
        ("no body", "", ""),
        *((f"without {name}", "", {k: v for k, v in NEW.items() if k != name}) for name in NEW),
        ("port of a wrong type", "", {**NEW, "port": "1"}),
        ("name of a wrong type", "", {**NEW, "name": 5}),
        ("type of a wrong type", "", {**NEW, "type": 5}),
        ("host of a wrong type", "", {**NEW, "host": 5}),
        ("unknown type", "", {**NEW, "type": "vm"}),
        ("metadata that are no object", "", {**NEW, "metadata": []}),
    ],
    "list_runners/400": [
        *((f"limit {text}", f"?limit={text}", None) for text in ("0", "-1", "x", "1.5")),
        *((f"offset {text}", f"?offset={text}", None) for text in ("-1", "x")),
        *((f"status {word}", f"?status={word}", None) for word in ("starting", "ACTIVE")),
        ("type vm", "?type=vm", None),
    ],
    "update_runner/400": [
        *((f"{name} sent", "", {name: "x"}) for name in ("type", "id", "status")),
        ("a list", "", []),
        ("no JSON", "", "nope"),
        *((f"{name} of a wrong type", "", {name: 5}) for name in ("name", "tags", "metadata", "host", "resources")),
        ("port of a wrong type", "", {"port": "1"}),
        ("tags that are a word", "", {"tags": "x"}),
    ],
    "delete_runner/400": [("force=maybe", "?force=maybe", None)],
    "runner_metrics/400": [
        ("period 2h", "?period=2h", None),
        ("resolution 2m", "?resolution=2m", None),
    ],
    "submit_job/400": [
        ("no name", "", {"steps": JOB["steps"]}),
        ("no steps", "", {"name": "j"}),
        ("empty steps", "", {"name": "j", "steps": []}),
        ("step without run", "", {"name": "j", "steps": [{"name": "a"}]}),
        ("step without a name", "", {"name": "j", "steps": [{"run": "true"}]}),
        ("steps of a wrong type", "", {"name": "j", "steps": "true"}),
        ("environment of numbers", "", {**JOB, "environment": {"A": 1}}),
        *((f"timeout {value!r}", "", {**JOB, "timeout": value}) for value in (0, -1, "5")),
        *((f"retry_count {value!r}", "", {**JOB, "retry_count": value}) for value in (-1, "2")),
    ],
    "list_jobs/400": [
        *((f"limit {text}", f"?limit={text}", None) for text in ("0", "-1", "x")),
        ("offset -1", "?offset=-1", None),
        ("status lost", "?status=lost", None),
    ],
    "update_config/400": [
        ("unknown member", "", {"nope": 1}),
        ("wrapped", "", {"configuration": {"job_timeout": 1}}),
        ("job_timeout as text", "", {"job_timeout": "1800"}),
        *((f"max_concurrent_jobs {value}", "", {"max_concurrent_jobs": value}) for value in (0, -1)),
        ("job_timeout 0", "", {"job_timeout": 0}),
        ("unknown cleanup policy", "", {"cleanup_policy": "sometimes"}),
    ],
    "stop_runner/400": [
        ("a list", "", []),
        ("graceful of a wrong type", "", {"graceful": "yes"}),
        ("timeout of text", "", {"timeout": "5"}),
        ("timeout -1", "", {"timeout": -1}),
        ("reason of a wrong type", "", {"reason": 1}),
    ],
    "runner_logs/400": [
        *((f"{name} that is no time", f"?{name}=yesterday", None) for name in ("since", "until")),
        ("level fatal", "?level=fatal", None),
        *((f"limit {text}", f"?limit={text}", None) for text in ("0", "x")),
        ("follow=maybe", "?follow=maybe", None),
        ("stream with a level that is none", "?follow=true&level=x", None),
    ],
    "bulk/400": [
        ("unknown operation", "", {"operation": "paint", "filters": {}}),
        ("no operation", "", {"filters": {}}),
        ("no filters", "", {"operation": "start"}),
        ("update_config without data", "", {"operation": "update_config", "filters": {}}),
        ("a filter that is none", "", {"operation": "start", "filters": {"type": "vm"}}),
    ],
    "ws_runners/426": [("no upgrade", "", None), ("the same with a slash", "/", None)],
}  # fmt: skip
NOT_IN_THE_LIST = {"delete_runner/400"}
"""Decided elsewhere (R18)."""
OF_STATE = frozenset({401, 409, 429, 503})
"""Those depend on what was before: tests of their own drive them."""


def listed() -> Iterator[Any]:
    """A call for each cause of each error of the contract; a row without causes is an error here."""
    for endpoint in CONTRACT["endpoints"]:
        name = endpoint["id"].removeprefix("rustci.")
        examples = endpoint.get("request", {}).get("examples") or [{"body": None}]
        for error in endpoint["errors"]:
            status, code = error["status"], error["code"]
            row, path, method = f"{name}/{status}", endpoint["path"], endpoint["method"]
            if status == 404:
                streams = ("", "?follow=true") if name == "runner_logs" else ("",)
                for nobody in NOBODY:
                    # `GET /register` is one of a runner with this id, `POST /register` is not.
                    if nobody == "register" and path != "/api/runners/{runner_id}":
                        continue
                    for more in streams:
                        what = f"{row} {nobody[:20]}{more}"
                        call = (method, path.format(runner_id=nobody) + more, examples[0]["body"])
                        yield pytest.param(*call, status, code, id=what)
            elif status not in OF_STATE:
                for what, more, sent in CAUSES[row]:
                    yield pytest.param(method, path + more, sent, status, code, id=f"{row} {what}")
    for row in NOT_IN_THE_LIST:
        name, _, status = row.partition("/")
        (endpoint,) = [each for each in CONTRACT["endpoints"] if each["id"] == f"rustci.{name}"]
        for what, more, sent in CAUSES[row]:
            call = (endpoint["method"], endpoint["path"] + more, sent)
            yield pytest.param(*call, int(status), "INVALID_REQUEST", id=f"{row} {what}")


OTHERS = [
    ("GET", "/api/runners/R/nope", 404),
    ("GET", "/api/runners/R/jobs/job_1/nope", 404),
    ("POST", "/api/runners/R", 405),
    ("DELETE", "/api/runners", 405),
    ("PATCH", "/api/runners/bulk", 405),
    ("POST", "/api/runners/R/status", 405),
]
"""Paths and methods that there are not."""


@drives(
    "*/errors/400", "*/errors/404", "*/errors/426", "decisions/R2", "decisions/R3", "decisions/R12", "decisions/R15"
)
@drives("error_format/*", "decisions/R44", "decisions/R45", "collisions/0")
@pytest.mark.parametrize(("method", "path", "body", "status", "code"), list(listed()))
def test_what_the_contract_refuses_is_refused_in_the_documented_envelope(
    rustci: RustCi, a_runner: str, method: str, path: str, body: Any, status: int, code: str
) -> None:
    sent = {} if body is None else {"content": body} if isinstance(body, str) else {"json": body}
    check_error(rustci, method, path.format(runner_id=a_runner), status, code, **sent)


@drives("decisions/R44", "decisions/R45")
@pytest.mark.parametrize(("method", "path", "status"), OTHERS)
def test_what_there_is_not_is_said_in_the_documented_envelope_too(
    rustci: RustCi, a_runner: str, method: str, path: str, status: int
) -> None:
    check_error(rustci, method, path.replace("/R", f"/{a_runner}", 1), status, "INVALID_REQUEST")


def check_error(rustci: RustCi, method: str, path: str, status: int, code: str, **sent: Any) -> None:
    reply = rustci.http.request(method, path, **sent)
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == FORMAT["content_type"]
    answer = reply.json()
    check_shape(answer, FORMAT["required"] | {"error.details.timestamp": "datetime"})
    assert set(answer) == set(FORMAT["example"]) and answer["success"] is False
    error = answer["error"]
    assert set(error) == set(FORMAT["example"]["error"])
    assert error["code"] == code and code in FORMAT["codes_seed"]
    if status not in (404, 405, 426):
        assert FORMAT["http_status_proposed"][code] == status
    assert error["message"] and not re.search(r"Traceback|File \"|proto|grpc", error["message"])


@pytest.fixture(scope="module")
def a_runner(rustci: RustCi) -> str:
    return rustci.register(type="docker")


@drives("documented_error", "get_runner/errors/404")
def test_the_documented_error_is_exactly_as_documented(rustci: RustCi) -> None:
    answer = rustci.ask("GET", "/runner_123", status=404)
    answer["error"]["details"]["timestamp"] = CONTRACT["documented_error"]["error"]["details"]["timestamp"]
    assert answer == CONTRACT["documented_error"]


def test_causes_are_those_of_rows() -> None:
    rows = {
        f"{each['id'].removeprefix('rustci.')}/{error['status']}"
        for each in CONTRACT["endpoints"]
        for error in each["errors"]
    }
    assert CAUSES.keys() - NOT_IN_THE_LIST <= rows
