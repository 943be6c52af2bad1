"""What is too large, and what is closed where credentials are demanded of everybody."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from testflinger_clients import NewAgent, NewCli, OldCli
from testflinger_server import NIL, LabServer, queue_name

KEY = "a-key-of-the-service"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """As from other machines: nothing is open; and there is room for little."""
    security = {"require_auth": True, "api_keys": [{"key": KEY, "role": "admin"}]}
    directory = tmp_path_factory.mktemp("closed")
    with LabServer(directory, security=security, max_file_bytes=1000, max_output_bytes=100) as server:
        yield server


@pytest.fixture
def http(closed: LabServer) -> Iterator[httpx.Client]:
    with closed.http() as client:
        yield client


def test_nothing_is_open_but_the_way_to_a_token(http: httpx.Client) -> None:
    for method, path in (
        ("GET", "/v1"),
        ("POST", "/v1/job"),
        ("GET", "/v1/job/search"),
        ("GET", f"/v1/result/{NIL}"),
        ("POST", f"/v1/result/{NIL}/output"),
        ("GET", "/v1/agents/data"),
    ):
        reply = http.request(method, path)
        assert reply.status_code == 401 and reply.json()["message"], path
    pop = http.get("/v1/job?queue=x")
    # An agent of the older era would take any body for a job.
    assert (pop.status_code, pop.content) == (401, b"")
    assert http.post("/v1/oauth2/token").json()["message"] == "No authorization header specified"


def test_clients_of_both_eras_get_in_by_their_tokens(http: httpx.Client, closed: LabServer) -> None:
    queue = queue_name()
    with closed.http() as second, closed.http() as third:
        old, new = OldCli(http), NewCli(second)
        old.log_in("maker")
        new.log_in("maker")
        jobs = [old.submit(queue), new.submit(queue)]
        agent = NewAgent(third, "robot-1", (queue,))
        agent.announce()
        assert [agent.take()["job_id"] for _ in jobs] == jobs


def test_a_key_of_the_service_stands_above_the_lab(http: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    body = {"job_queue": queue_name(), "job_priority": 99, "reserve_data": {"timeout": "30d"}}
    assert http.post("/v1/job", json=body, headers=headers).status_code == 200
    assert http.get("/v1/client-permissions", headers=headers).status_code == 200


def test_an_archive_over_the_cap_is_413_and_the_one_before_stays(http: httpx.Client) -> None:
    http.headers["Authorization"] = f"Bearer {KEY}"
    path = f"/v1/result/{NIL}/artifact"
    assert http.post(path, files={"file": b"x" * 1000}).status_code == 200
    reply = http.post(path, files={"file": b"y" * 1001})
    assert (reply.status_code, reply.json()) == (413, {"detail": {}, "message": "Payload too large"})
    assert http.get(path).content == b"x" * 1000


def test_output_over_the_cap_is_413_and_what_was_there_stays(http: httpx.Client) -> None:
    http.headers["Authorization"] = f"Bearer {KEY}"
    path = "/v1/result/77777777-7777-4777-8777-777777777777/output"
    assert http.post(path, content=b"x" * 90).status_code == 200
    assert http.post(path, content=b"y" * 20).status_code == 413
    assert http.post(path, content=b"z" * 10).status_code == 200
    assert http.get(path).text == "x" * 90 + "\n" + "z" * 10
