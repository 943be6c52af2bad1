"""Endpoints that API.md leaves out and the real clients call (testflinger.md, §3), one by one, in both eras' forms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from google.api import annotations_pb2
from testflinger_clients import archive, token_answer
from testflinger_server import LabServer, basic, queue_name

from runner.dialects.testflinger.v1 import (
    access_service_pb2,
    agent_service_pb2,
    job_service_pb2,
    queue_service_pb2,
    result_service_pb2,
)

FILES = (access_service_pb2, agent_service_pb2, job_service_pb2, queue_service_pb2, result_service_pb2)
UNKNOWN = "11111111-1111-4111-8111-111111111111"
DRIVEN: set[str] = set()
Test = Callable[..., None]


def drives(*endpoints: str) -> Callable[[Test], Test]:
    """Notes which endpoints a test is of."""
    DRIVEN.update(endpoints)
    return lambda test: test


@dataclass
class Caller:
    """Somebody with credentials in the form of an era."""

    http: httpx.Client
    headers: dict[str, str] = field(default_factory=dict)
    today: bool = False

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        self.http.cookies.clear()
        return self.http.request(method, path, headers=self.headers, **options)

    def said(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        reply = self.ask(method, path, **options)
        return reply.status_code, reply.text

    def told(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        reply = self.ask(method, path, **options)
        return reply.status_code, reply.json()


@pytest.fixture
def http(lab: LabServer) -> Iterator[httpx.Client]:
    with lab.http() as client:
        yield client


def caller(http: httpx.Client, client_id: str, *, today: bool = True, agent: str = "") -> Caller:
    token = token_answer(http, client_id)["access_token"]
    headers = {"Authorization": f"Bearer {token}" if today else token}
    return Caller(http, headers | ({"Cookie": f"agent_name={agent}"} if agent else {}), today)


@pytest.fixture(params=["anonymous", "seed", "today"])
def person(request: pytest.FixtureRequest, http: httpx.Client) -> Caller:
    """A command line."""
    return Caller(http) if request.param == "anonymous" else caller(http, "maker", today=request.param == "today")


@pytest.fixture(params=["seed", "today"])
def agent(request: pytest.FixtureRequest, http: httpx.Client) -> Caller:
    """An agent: anonymous, or with a token and a cookie."""
    return Caller(http) if request.param == "seed" else caller(http, "robot", agent=f"of-{request.param}")


@pytest.fixture
def queue() -> str:
    return queue_name()


def submit(http: httpx.Client, queue: str, **members: Any) -> str:
    job_id: str = http.post("/v1/job", json={"job_queue": queue, **members}).json()["job_id"]
    return job_id


def test_each_endpoint_is_documented_or_driven_here() -> None:
    documented = yaml.safe_load(Path(__file__).with_name("testflinger_contract.yaml").read_text())
    known = {f"{method} {one['path']}" for one in documented for method in (one["method"], *one.get("also", ()))}
    served = set()
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations_pb2.http]
                for one in (rule, *rule.additional_bindings):
                    verb = one.WhichOneof("pattern")
                    served.add(f"{verb.upper()} {getattr(one, verb)}")
    known |= {endpoint.replace("{queue_name}", "{queue}") for endpoint in known}
    assert served - known == DRIVEN - {"POST /oidc/auth-init"}


@drives("GET /v1")
def test_version(person: Caller) -> None:
    for path in ("/v1", "/v1/"):
        status, text = person.said("GET", path)
        assert status == 200 and text.startswith("Testflinger Server v")
        assert person.said("HEAD", path) == (200, "")


@drives("GET /v1/job/{job_id}")
def test_job_by_id(person: Caller, queue: str) -> None:
    job_id = submit(person.http, queue, free={"n": 12345678901234567890}, tags=["t"])
    wanted = {"job_queue": queue, "free": {"n": 12345678901234567890}, "tags": ["t"], "job_id": job_id}
    assert person.told("GET", f"/v1/job/{job_id}") == (200, wanted)
    assert person.said("GET", f"/v1/job/{UNKNOWN}") == (204, "")
    assert person.told("GET", "/v1/job/x") == (400, {"detail": {}, "message": "Invalid job_id specified"})


@drives("GET /v1/job/{job_id}/position")
def test_position(person: Caller, queue: str) -> None:
    first, second = submit(person.http, queue), submit(person.http, queue)
    assert [person.said("GET", f"/v1/job/{one}/position") for one in (first, second)] == [(200, "0"), (200, "1")]
    person.http.get("/v1/job", params={"queue": queue})
    gone = (410, "Job not found or already started\n")
    assert person.said("GET", f"/v1/job/{first}/position") == gone
    assert person.said("GET", f"/v1/job/{UNKNOWN}/position") == gone
    assert person.said("GET", f"/v1/job/{second}/position") == (200, "0")


@drives("POST /v1/job/{job_id}/attachments")
def test_attachments_are_posted(person: Caller, queue: str) -> None:
    job_id = submit(person.http, queue, test_data={"attachments": [{"agent": "a"}]})
    path, packed = f"/v1/job/{job_id}/attachments", archive("a", b"content")
    assert person.ask("POST", path, files={"other": b"x"}).status_code == 400
    for _ in range(2):
        assert person.said("POST", path, files={"file": ("file", packed, "application/x-gzip")}) == (200, "OK")
    bare = submit(person.http, queue)
    refused = f"Job {bare} not awaiting attachments\n"
    assert person.said("POST", f"/v1/job/{bare}/attachments", files={"file": packed}) == (422, refused)
    unknown = person.said("POST", f"/v1/job/{UNKNOWN}/attachments", files={"file": packed})
    assert unknown == (422, f"Job {UNKNOWN} is not valid\n")


@drives("GET /v1/job/{job_id}/attachments")
def test_attachments_are_got(agent: Caller, queue: str) -> None:
    job_id = submit(agent.http, queue, test_data={"attachments": [{"agent": "a"}]})
    path, packed = f"/v1/job/{job_id}/attachments", archive("a", b"content")
    assert agent.said("GET", path) == (204, "")
    agent.http.post(path, files={"file": packed})
    reply = agent.ask("GET", path)
    assert (reply.content, reply.headers["content-type"]) == (packed, "application/gzip")
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize("kind", ["output", "serial_output"])
@drives(
    *(f"{method} /v1/result/{{job_id}}/{kind}" for method in ("GET", "POST") for kind in ("output", "serial_output"))
)
def test_output_of_the_older_era(agent: Caller, person: Caller, kind: str) -> None:
    path = f"/v1/result/{queue_name().removeprefix('queue-')}/{kind}"
    assert person.said("GET", path) == (204, "")
    assert agent.said("POST", path, content="größer\n".encode()) == (200, "OK")
    assert person.said("GET", path) == (200, "größer\n")
    assert person.said("GET", path) == (204, "")


@pytest.mark.parametrize("kind", ["output", "serial"])
@drives("POST /v1/result/{job_id}/log/{log_type}", "GET /v1/result/{job_id}/log/{log_type}")
def test_log_fragments_of_today(agent: Caller, person: Caller, kind: str) -> None:
    path = f"/v1/result/{queue_name().removeprefix('queue-')}/log/{kind}"
    nothing = {"last_fragment_number": -1, "log_data": ""}
    status, empty = person.told("GET", path)
    assert status == 200 and len(empty[kind]) == 7 and set(map(str, empty[kind].values())) == {str(nothing)}
    stamp = {"timestamp": "2026-11-20T15:44:33+00:00", "phase": "test"}
    for number, text in ((0, "a\n"), (2, "c\n"), (1, ""), (2, "again")):
        body = {"fragment_number": number, "log_data": text, **stamp}
        assert agent.said("POST", path, json=body) == (200, "OK")
    found = {"last_fragment_number": 2, "log_data": "a\nc\n"}
    assert person.told("GET", path, params={"phase": "test"}) == (200, {kind: {"test": found}})
    later = person.told("GET", path, params={"phase": "test", "start_fragment": 2})
    assert later == (200, {kind: {"test": {**found, "log_data": "c\n"}}})
    # A command line of the older era reads the same.
    assert person.said("GET", path.replace("/log/", "/").replace("/serial", "/serial_output")) == (200, "a\nc\n")


@drives("POST /v1/agents/data/{agent_name}", "GET /v1/agents/data/{agent_name}")
def test_agent_data_by_name(agent: Caller, http: httpx.Client, queue: str) -> None:
    name = agent.headers.get("Cookie", f"agent_name={queue}").removeprefix("agent_name=")
    reply = agent.ask("POST", f"/v1/agents/data/{name}", json={"state": "waiting", "queues": [queue]})
    assert (reply.status_code, reply.text) == (200, '{"status":"OK"}\n' if agent.today else "OK")
    assert reply.headers["set-cookie"] == f"agent_name={name}; HttpOnly; Path=/; SameSite=Strict"
    for who in (agent, Caller(http), caller(http, "maker"), caller(http, "maker", today=False)):
        status, shown = who.told("GET", f"/v1/agents/data/{name}")
        assert (status, shown["name"], shown["state"], shown["queues"]) == (200, name, "waiting", [queue])
        assert who.told("GET", f"/v1/agents/data/{queue}-unknown") == (404, {})


@drives("GET /v1/queues/{queue}/jobs")
def test_jobs_of_a_queue(person: Caller, queue: str) -> None:
    assert person.said("GET", f"/v1/queues/{queue}/jobs") == (204, "")
    job_id = submit(person.http, queue)
    status, (job,) = person.told("GET", f"/v1/queues/{queue}/jobs")
    assert status == 200 and set(job) == {"created_at", "job_id", "job_queue", "job_state"}
    assert (job["job_id"], job["job_queue"], job["job_state"]) == (job_id, queue, "waiting")
    time.strptime(job["created_at"], "%Y-%m-%dT%H:%M:%SZ")


@drives("POST /v1/oauth2/refresh", "POST /v1/oauth2/revoke")
def test_tokens_are_refreshed_and_revoked(http: httpx.Client) -> None:
    own = http.post("/v1/oauth2/token", headers={"Authorization": basic("other")}).json()
    body = {"refresh_token": own["refresh_token"]}
    for who in (Caller(http), caller(http, "other", today=False)):
        status, fresh = who.told("POST", "/v1/oauth2/refresh", json=body)
        assert (status, set(fresh)) == (200, {"access_token", "token_type", "expires_in"})
        # Good in the forms of both eras.
        for form in (fresh["access_token"], f"Bearer {fresh['access_token']}"):
            assert http.get("/v1/agents/queues", headers={"Authorization": form}).status_code == 200
        assert who.ask("POST", "/v1/oauth2/refresh", json={}).status_code == 422
    assert Caller(http).ask("POST", "/v1/oauth2/revoke", json=body).status_code == 403
    boss = caller(http, "boss", today=False)
    assert boss.told("POST", "/v1/oauth2/revoke", json=body) == (200, {"status": "OK"})
    refused = Caller(http).told("POST", "/v1/oauth2/refresh", json=body)
    assert refused == (400, {"detail": {}, "message": "Refresh token revoked."})


@pytest.mark.parametrize("today", [False, True], ids=["seed", "today"])
@drives(
    "GET /v1/restricted-queues",
    "GET /v1/restricted-queues/{queue}",
    "POST /v1/restricted-queues/{queue}",
    "DELETE /v1/restricted-queues/{queue}",
)
def test_restricted_queues(http: httpx.Client, queue: str, today: bool) -> None:
    chief, path = caller(http, "chief", today=today), f"/v1/restricted-queues/{queue}"
    http.post("/v1/agents/queues", json={queue: "a queue"})
    assert chief.said("POST", path, json={"client_id": "maker"}) == (200, "OK")
    wanted = {"owners": ["maker"], "queue": queue}
    assert chief.told("GET", path) == (200, wanted)
    assert wanted in Caller(http).told("GET", "/v1/restricted-queues")[1]
    assert chief.said("DELETE", path, json={"client_id": "maker"}) == (200, "OK")
    assert chief.said("DELETE", path, json={}) == (200, "OK")
    assert chief.told("GET", path) == (404, {"detail": {}, "message": "Error: Restricted queue not found."})


@pytest.mark.parametrize("today", [False, True], ids=["seed", "today"])
@drives(
    "GET /v1/client-permissions",
    "GET /v1/client-permissions/{client_id}",
    "PUT /v1/client-permissions/{client_id}",
    "DELETE /v1/client-permissions/{client_id}",
)
def test_client_permissions(http: httpx.Client, queue: str, today: bool) -> None:
    boss, path = caller(http, "boss", today=today), f"/v1/client-permissions/{queue}"
    body = {"client_secret": "a-secret-of-fifteen", "max_priority": {"q": 5}, "role": "contributor"}
    assert boss.said("PUT", path, json=body) == (200, f"Created permissions for client '{queue}'")
    shown = {"client_id": queue, "role": "contributor", "max_priority": {"q": 5}}
    wanted = {**shown, "allowed_queues": [], "max_reservation_time": {}}
    assert boss.told("GET", path) == (200, wanted)
    assert wanted in boss.told("GET", "/v1/client-permissions")[1]
    assert boss.said("DELETE", path) == (200, "OK")
    assert boss.ask("GET", path).status_code == 404


@pytest.mark.parametrize("today", [False, True], ids=["seed", "today"])
@drives("PUT /v1/secrets/{client_id}/{path=**}", "DELETE /v1/secrets/{client_id}/{path=**}")
def test_secrets(http: httpx.Client, today: bool) -> None:
    maker, path = caller(http, "maker", today=today), "/v1/secrets/maker/undocumented/token"
    status, answer = maker.told("PUT", path, json={"value": "hush-hush"})
    assert status == 200 and time.strptime(answer["expires_at"], "%Y-%m-%dT%H:%M:%SZ")
    for other in (caller(http, "other", today=today), Caller(http)):
        assert other.ask("PUT", path, json={"value": "hush-hush"}).status_code == 403
        assert other.ask("DELETE", path).status_code == 403
    assert maker.said("DELETE", path) == (200, "OK")


@drives("POST /oidc/auth-init")
def test_there_is_no_oidc(person: Caller) -> None:
    assert person.ask("POST", "/oidc/auth-init").status_code == 404
