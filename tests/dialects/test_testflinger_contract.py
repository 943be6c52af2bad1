"""Every documented line of Testflinger's API.md, as it stands there but for host and port; and its slips, T1 to T15."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import httpx
import pytest
import yaml
from testflinger_server import NIL, LabServer, basic, queue_name

ENDPOINTS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("testflinger_contract.yaml").read_text())
BY_ID = {endpoint["id"]: endpoint for endpoint in ENDPOINTS}

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the documented lines need curl and bash")


@dataclass
class Shell:
    """Runs documented lines in a folder of its own, with the status behind what curl prints."""

    lab: LabServer
    folder: Path

    def run(self, name: str) -> tuple[int, str, int]:
        """Status, body and exit code of curl."""
        line = BY_ID[name]["curl"].replace("localhost:8000", f"127.0.0.1:{self.lab.port}")
        (self.folder / ".curlrc").write_text('silent\nwrite-out = "\\n%{http_code}"\nmax-time = 20\nnoproxy = "*"\n')
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "CURL_HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        body, _, status = done.stdout.rpartition("\n") if name != "get_artifact" else ("", "", done.stdout[:4].strip())
        return int(status), body.rstrip("\n"), done.returncode


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("documented")) as server:
        yield server


@pytest.fixture(scope="module")
def http(own_lab: LabServer) -> Iterator[httpx.Client]:
    with own_lab.http() as client:
        yield client


@pytest.fixture
def shell(own_lab: LabServer, tmp_path: Path) -> Shell:
    (tmp_path / "README.rst").write_text("read me\n")
    return Shell(own_lab, tmp_path)


def type_of(value: Any) -> str:
    names: dict[type, str] = {dict: "object", list: "array", str: "string", int: "integer", bool: "boolean"}
    return names[type(value)]


def check_shape(endpoint: dict[str, Any], body: str) -> None:
    for path, kind in endpoint.get("required", {}).items():
        value = json.loads(body)
        if path == "$[]":
            assert all(type_of(one) == kind for one in value)
            continue
        value = value if path == "$" else value[path]
        if kind == "uuid":
            UUID(value)
        else:
            assert type_of(value) == kind
    if "example" in endpoint:
        assert json.loads(body) == endpoint["example"]


@pytest.mark.parametrize(
    "name",
    [
        "post_job",
        "search_jobs",
        "post_result",
        "get_result",
        "post_artifact",
        "post_queues",
        "get_queues",
        "post_images",
        "get_images",
        "get_agents_data",
        "post_provision_logs",
        "wait_times",
        "queue_agents",
    ],
)
def test_a_documented_line_is_answered_as_documented(shell: Shell, http: httpx.Client, name: str) -> None:
    # What an earlier line of the document stored.
    if name == "get_result":
        http.post(f"/v1/result/{NIL}", json=BY_ID["post_result"]["bodies"][0])
    if name == "get_queues":
        http.post("/v1/agents/queues", json=BY_ID["post_queues"]["bodies"][0])
    if name == "get_images":
        http.post("/v1/agents/images", json=BY_ID["post_images"]["bodies"][0])
    status, body, code = shell.run(name)
    assert (status, code) == (200, 0), body
    check_shape(BY_ID[name], body)
    if BY_ID[name]["method"] == "POST" and "required" not in BY_ID[name]:
        assert body == "OK"


NEEDS_MORE = ("post_events", "job_action")
"""A webhook, and a job: tested below."""


@pytest.mark.parametrize(
    "endpoint",
    [one for one in ENDPOINTS if "bodies" in one and one["id"] not in NEEDS_MORE],
    ids=lambda one: str(one["id"]),
)
def test_the_documented_bodies_are_taken(http: httpx.Client, endpoint: dict[str, Any]) -> None:
    for body in endpoint["bodies"]:
        path = endpoint["path"].replace("{job_id}", NIL).replace("{agent_name}", "myagent")
        assert http.post(path, json=body).status_code == 200


def test_all_eighteen_endpoints_are_here() -> None:
    assert len(BY_ID) == 18


def test_the_documented_pop_gets_one_job_and_then_nothing(shell: Shell, http: httpx.Client) -> None:
    posted = http.post("/v1/job", json={"job_queue": "foo", "option": "bar"}).json()
    status, body, _ = shell.run("get_job")
    got = json.loads(body)
    assert status == 200
    assert got == {"job_queue": "foo", "option": "bar", "job_id": posted["job_id"], "started_at": got["started_at"]}
    assert shell.run("get_job") == (204, "", 0)


def test_no_queue_given_is_400_with_nothing_an_old_agent_takes_for_a_job(http: httpx.Client) -> None:
    reply = http.get("/v1/job")
    assert (reply.status_code, reply.content) == (400, b"")


def test_unknown_jobs_have_no_result_and_no_artifact(http: httpx.Client) -> None:
    unknown = "11111111-1111-4111-8111-111111111111"
    for path in (f"/v1/result/{unknown}", f"/v1/result/{unknown}/artifact"):
        reply = http.get(path)
        assert (reply.status_code, reply.content) == (204, b"")


def test_t1_t2_the_token_line_sends_get_with_what_is_no_base64_and_gets_401(shell: Shell) -> None:
    status, body, _ = shell.run("oauth2_token")
    assert (status, json.loads(body)["message"]) == (401, "No authorization header specified")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_t1_a_token_comes_by_get_and_by_post(http: httpx.Client, method: str) -> None:
    reply = http.request(method, "/v1/oauth2/token", headers={"authorization": basic("maker")})
    assert reply.status_code == 200
    token = reply.text if method == "GET" else reply.json()["access_token"]
    assert token.count(".") == 2


def test_t3_the_line_with_continued_lines_is_mended_and_kept(shell: Shell, http: httpx.Client) -> None:
    assert shell.run("post_provision_logs")[:2] == (200, "OK")
    (agent,) = [one for one in http.get("/v1/agents/data").json() if one["name"] == "myagent"]
    assert agent["provision_streak_type"] == "fail"


def test_t4_t5_the_download_line_saves_the_file_as_it_was_uploaded(shell: Shell) -> None:
    assert shell.run("post_artifact")[0] == 200
    status, _, code = shell.run("get_artifact")
    # -O takes no argument: curl saves ./artifact, then tries the host artifact.tar.gz.
    assert (status, code) == (200, 6)
    assert (shell.folder / "artifact").read_bytes() == (shell.folder / "README.rst").read_bytes()


@pytest.mark.parametrize(("match", "found"), [("any", 2), ("all", 1), (None, 2)])
def test_t6_tags_match_any_or_all(http: httpx.Client, match: str | None, found: int) -> None:
    one, two = queue_name(), queue_name()
    for tags in ([one, two], [two]):
        http.post("/v1/job", json={"job_queue": one, "tags": tags})
    query: dict[str, Any] = {"tags": [one, two], **({"match": match} if match else {})}
    assert len(http.get("/v1/job/search", params=query).json()) == found


@pytest.mark.parametrize("word", ["cancel", "Cancel", "CANCEL"])
def test_t7_cancel_in_any_case(http: httpx.Client, word: str) -> None:
    job_id = http.post("/v1/job", json={"job_queue": queue_name()}).json()["job_id"]
    assert http.post(f"/v1/job/{job_id}/action", json={"action": word}).text == "OK"
    again = http.post(f"/v1/job/{job_id}/action", json={"action": word})
    assert (again.status_code, again.text) == (400, "The job is already completed or cancelled")


def test_t8_t15_results_of_the_nil_uuid_come_back_as_posted(http: httpx.Client) -> None:
    body = '{"exit_code": 0, "output": "foo", "device_info": {"x": 1.10, "n": 123456789012345678901234567890}}'
    http.post(f"/v1/result/{NIL}", content=body, headers={"content-type": "application/json"})
    text = http.get(f"/v1/result/{NIL}").text
    assert {"exit_code": 0, "output": "foo"}.items() <= json.loads(text).items()
    assert '{"x": 1.10, "n": 123456789012345678901234567890}' in text


def test_t9_the_action_line_names_no_job(shell: Shell) -> None:
    status, body, _ = shell.run("job_action")
    assert (status, json.loads(body)) == (404, {"detail": {}, "message": "Job not found"})


def test_t10_the_events_line_cannot_reach_its_webhook(shell: Shell) -> None:
    assert shell.run("post_events")[0] == 504


def test_events_go_to_the_webhook_and_its_answer_comes_back(http: httpx.Client) -> None:
    got: list[tuple[str, bytes]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(202)
            self.end_headers()
            self.wfile.write(b"noted")

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as hook:
        thread = Thread(target=hook.handle_request)
        thread.start()
        (body,) = BY_ID["post_events"]["bodies"]
        body = {**body, "job_status_webhook": f"http://127.0.0.1:{hook.server_port}/hook"}
        reply = http.post(f"/v1/job/{NIL}/events", json=body)
        thread.join(10)
    assert (reply.status_code, reply.text) == (202, "noted")
    del body["job_status_webhook"]
    ((path, sent),) = got
    assert (path, json.loads(sent)) == ("/hook", body)


def test_t11_t12_agents_appear_by_whatever_they_do(http: httpx.Client) -> None:
    one, two, three = queue_name(), queue_name(), queue_name()
    assert http.post(f"/v1/agents/provision_logs/{one}", json={"job_id": NIL, "exit_code": 0}).text == "OK"
    assert http.post(f"/v1/agents/data/{two}", json={}).text == "OK"
    popped = http.get("/v1/job", params={"queue": "nobody's"}, headers={"Cookie": f"agent_name={three}"})
    assert popped.status_code == 204
    agents = {agent["name"]: agent for agent in http.get("/v1/agents/data").json()}
    assert {one, two, three} <= set(agents)
    assert (agents[three]["state"], agents[three]["queues"]) == ("waiting", ["nobody's"])


def test_t14_empty_answers_are_empty_and_200(http: httpx.Client) -> None:
    unknown = queue_name()
    assert http.get("/v1/job/search", params={"tags": unknown}).json() == []
    assert http.get("/v1/queues/wait_times", params={"queue": unknown}).json() == {}
    assert http.get(f"/v1/queues/{unknown}/agents").json() == []


def test_the_missing_queue_is_422(http: httpx.Client) -> None:
    for options in ({"json": {}}, {"content": b"no json"}, {"content": b'{"job_queue": "x"}'}, {"json": ["x"]}):
        reply = http.post("/v1/job", **options)  # type: ignore[arg-type]
        # The third is not declared as JSON.
        assert reply.status_code == 422, options
        assert reply.json()["detail"]["json"]


@pytest.mark.parametrize("path", ["/v1/job/nonsense", "/v1/result/nonsense", "/v1/job/nonsense/position"])
def test_an_id_that_is_none_is_400(http: httpx.Client, path: str) -> None:
    reply = http.get(path)
    assert (reply.status_code, reply.json()) == (400, {"detail": {}, "message": "Invalid job_id specified"})


def test_ids_are_compared_after_normalising(http: httpx.Client) -> None:
    job_id = http.post("/v1/job", json={"job_queue": queue_name()}).json()["job_id"]
    for form in (job_id.upper(), job_id.replace("-", ""), f"{{{job_id}}}", f"urn:uuid:{job_id}"):
        assert http.get(f"/v1/job/{form}").json()["job_id"] == job_id


def test_unknown_paths_and_methods(http: httpx.Client) -> None:
    assert http.get("/v1/job/a/b/c").status_code == 404
    reply = http.delete("/v1/job")
    assert (reply.status_code, reply.json()) == (405, {"detail": {}, "message": "Method Not Allowed"})
    assert set(reply.headers["allow"].replace(",", "").split()) >= {"GET", "POST"}
    assert http.post("/oidc/auth-init").status_code == 404


def test_a_slash_at_the_end_changes_nothing(http: httpx.Client) -> None:
    for path in ("/v1", "/v1/", "/v1/agents/queues/", "/v1/job/search/"):
        assert http.get(path).status_code == 200
    assert http.get("/v1").text.startswith("Testflinger Server v")
    assert http.head("/v1").status_code == 200
