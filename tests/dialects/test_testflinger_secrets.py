"""Secrets of clients: kept, given to the agent of their client's job alone, never shown again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from testflinger_clients import token_answer
from testflinger_server import LabServer

from runner_service.domain.ids import new_id

VALUE = "s3cr3t-value"
ROBOT = {"Cookie": "agent_name=robot-agent"}


def as_client(http: httpx.Client, client_id: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_answer(http, client_id)['access_token']}"}


def put(http: httpx.Client, path: str = "a/b", *, by: str = "maker", **members: Any) -> httpx.Response:
    return http.put(f"/v1/secrets/{by}/{path}", json={"value": VALUE, **members}, headers=as_client(http, by))


def submit(http: httpx.Client, queue: str, *, by: str | None = "maker", **secrets: str) -> httpx.Response:
    body = {"job_queue": queue, "big": 1.10, "test_data": {"test_cmds": "true", "secrets": secrets}}
    return http.post("/v1/job", json=body, headers=as_client(http, by) if by else {})


def pop(http: httpx.Client, queue: str) -> Any:
    reply = http.get("/v1/job", params={"queue": queue}, headers=as_client(http, "robot") | ROBOT)
    return reply.json() if reply.status_code == 200 else None


def message(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["message"]


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("keeping")) as server:
        yield server


@pytest.fixture
def http(keeping: LabServer) -> Iterator[httpx.Client]:
    with keeping.http() as client:
        yield client


@pytest.fixture
def queue() -> str:
    return f"secret-{new_id()[-8:]}"


def test_the_agent_gets_the_value_and_nobody_else_sees_it(http: httpx.Client, queue: str) -> None:
    reply = put(http)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["expires_at"].endswith("Z")
    job_id = submit(http, queue, NAME="a/b").json()["job_id"]
    shown = http.get(f"/v1/job/{job_id}").json()
    assert shown["test_data"]["secrets"] == {"NAME": "a/b"}
    popped = pop(http, queue)
    assert popped["test_data"] == {"test_cmds": "true", "secrets": {"NAME": VALUE}}
    for path in (f"/v1/job/{job_id}", f"/v1/result/{job_id}", f"/api/v2/jobs/{job_id}"):
        assert VALUE not in http.get(path).text


def test_who_is_not_known_or_has_no_such_secret_is_refused(http: httpx.Client, queue: str) -> None:
    put(http)
    assert message(submit(http, queue, by=None, NAME="a/b")) == (422, "Missing client ID (user not authenticated)")
    said = "Inaccessible secret paths: a/b, z"
    assert message(submit(http, queue, by="other", ONE="z", TWO="a/b")) == (422, said)
    assert pop(http, queue) is None


def test_nobody_reaches_the_secrets_of_others(http: httpx.Client, queue: str) -> None:
    put(http, "mine")
    for headers in ({}, as_client(http, "other"), as_client(http, "boss")):
        reply = http.put("/v1/secrets/maker/mine", json={"value": "other-value"}, headers=headers)
        assert message(reply) == (403, "'maker' doesn't match authenticated client id")
        reply = http.delete("/v1/secrets/maker/mine", headers=headers)
        assert message(reply) == (403, "'maker' doesn't match authenticated client id")
    assert message(put(http, "mine", by="robot")) == (
        403,
        "Specified action requires role: admin, contributor, manager",
    )
    submit(http, queue, NAME="mine")
    assert pop(http, queue)["test_data"]["secrets"] == {"NAME": VALUE}


def test_a_deleted_one_is_gone_for_jobs_that_wait_too(http: httpx.Client, queue: str) -> None:
    put(http, "gone")
    submit(http, queue, NAME="gone")
    for _ in range(2):
        reply = http.delete("/v1/secrets/maker/gone", headers=as_client(http, "maker"))
        assert (reply.status_code, reply.text) == (200, "OK")
    assert message(submit(http, queue, NAME="gone")) == (422, "Inaccessible secret paths: gone")
    assert pop(http, queue)["test_data"]["secrets"] == {"NAME": ""}


def test_an_ephemeral_one_is_for_one_job(http: httpx.Client, queue: str) -> None:
    reply = put(http, "once", ephemeral=True)
    assert reply.json() == {"expires_at": None}
    first = submit(http, queue, NAME="once").json()["job_id"]
    submit(http, queue, NAME="once")
    popped = pop(http, queue)
    assert (popped["job_id"], popped["test_data"]["secrets"]) == (first, {"NAME": VALUE})
    assert pop(http, queue)["test_data"]["secrets"] == {"NAME": ""}
    assert message(submit(http, queue, NAME="once")) == (422, "Inaccessible secret paths: once")


def test_an_agent_that_gives_a_job_back_stores_no_value(http: httpx.Client, queue: str) -> None:
    put(http, "again", ephemeral=True)
    submit(http, queue, NAME="again")
    popped = pop(http, queue)
    # As an agent of the older era does it: with all that it was given, and without a token.
    reply = http.post("/v1/job", content=json.dumps(popped), headers={"Content-Type": "application/json"})
    assert reply.json() == {"job_id": popped["job_id"]}
    assert http.get(f"/v1/job/{popped['job_id']}").json()["test_data"]["secrets"] == {"NAME": "again"}
    assert pop(http, queue)["test_data"]["secrets"] == {"NAME": VALUE}


@pytest.mark.parametrize(
    ("path", "members", "said"),
    [
        ("a/b", {"value": "short"}, {"json": {"value": ["Length must be between 6 and 65536."]}}),
        ("a/b", {"value": None}, {"json": {"value": ["Field may not be null."]}}),
        ("a/b", {"expire_after": 0}, None),
        ("a/b", {"more": 1}, {"json": {"more": ["Unknown field."]}}),
        ("a%20b", {}, {"path": {"path": ["String does not match expected pattern."]}}),
    ],
)
def test_what_cannot_be_is_refused(http: httpx.Client, path: str, members: Any, said: Any) -> None:
    reply = put(http, path, **members)
    assert message(reply) == (422, "Validation error")
    if said is not None:
        assert reply.json()["detail"] == said


def test_it_lasts_as_long_as_it_is_told(http: httpx.Client) -> None:
    assert put(http, expire_after=None).json() == {"expires_at": None}
    assert put(http, expire_after=60).json()["expires_at"] < put(http).json()["expires_at"]
