"""testflinger.md §2 to §8: what requests must look like, and what comes back."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest
from testflinger_server import NIL, queue_name

NOW = "2026-11-20T15:44:33Z"


def submit(plain: httpx.Client, **members: Any) -> httpx.Response:
    return plain.post("/v1/job", json={"job_queue": queue_name(), **members})


MISSING = "Missing data for required field."
PATTERN = "String does not match expected pattern."
ONE_SHAPE = {"provision_data": {"_schema": ["Invalid provision data schema."]}}
REFUSED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"provision_data": {"foo": 1}}, ONE_SHAPE),
    ({"provision_data": {"url": "http://nodots/image"}}, ONE_SHAPE),
    ({"provision_data": {"preset": "p", "urls": ["http://a.b/c"], "url": "http://a.b/c"}}, ONE_SHAPE),
    ({"provision_data": []}, ONE_SHAPE),
    ({"test_data": {"foo": 1}}, {"test_data": {"foo": ["Unknown field."]}}),
    ({"test_data": {"test_cmds": 5}}, {"test_data": {"test_cmds": ["Not a valid string."]}}),
    (
        {"test_data": {"attachments": [{}]}},
        {"test_data": {"attachments": {"0": {"agent": ["Missing data for required field."]}}}},
    ),
    ({"test_data": None}, {"test_data": ["Field may not be null."]}),
    (
        {"reserve_data": {"ssh_keys": ["x"]}},
        {"reserve_data": {"ssh_keys": {"0": ["String does not match expected pattern."]}}},
    ),
    ({"tags": "x"}, {"tags": ["Not a valid list."]}),
    ({"job_priority": "x"}, {"job_priority": ["Not a valid integer."]}),
    ({"job_id": "x"}, {"job_id": ["Not a valid UUID."]}),
    ({"exclude_agents": [1]}, {"exclude_agents": {"0": ["Not a valid string."]}}),
]


@pytest.mark.parametrize(("members", "said"), REFUSED, ids=[json.dumps(case[0])[:40] for case in REFUSED])
def test_what_is_wrong_with_a_job_is_said_by_member(
    plain: httpx.Client, members: dict[str, Any], said: dict[str, Any]
) -> None:
    reply = submit(plain, **members)
    assert (reply.status_code, reply.json()) == (422, {"detail": {"json": said}, "message": "Validation error"})


@pytest.mark.parametrize(
    "members",
    [
        {"provision_data": None},
        {"provision_data": {}},
        {"provision_data": {"skip": True}},
        {"provision_data": {"url": "https://images.example.com/core.img"}},
        {"provision_data": {"distro": "noble", "kernel": "hwe"}},
        {"provision_data": {"jobs": [{"job_queue": "x"}]}},
        {"provision_data": {"use_attachment": "x", "attachments": [{"agent": "x"}], "media": "usb"}},
        {"reserve_data": {"ssh_keys": ["lp:me", "gh:you"], "timeout": "2h30m"}},
        {"global_timeout": 3600, "output_timeout": 900, "debug": True, "job_status_webhook": "anything"},
        {"firmware_update_data": {"a": [1]}, "allocate_data": {"allocate": True}, "parent_job_id": "x", "name": "n"},
        {"anything": {"at": ["all", 1, None]}},
    ],
)
def test_what_is_right_is_taken_and_comes_back(plain: httpx.Client, members: dict[str, Any]) -> None:
    reply = submit(plain, **members)
    assert reply.status_code == 200, reply.text
    job = plain.get(f"/v1/job/{reply.json()['job_id']}").json()
    assert job.items() >= members.items()


def test_unknown_members_reach_the_agent_number_exact(plain: httpx.Client) -> None:
    queue = queue_name()
    free = '"free": {"a": 1.10, "b": 1e400, "c": 123456789012345678901234567890, "d": "\\u00e9", "e": [[]]}'
    text = f'{{"job_queue": "{queue}", {free}}}'
    plain.post("/v1/job", content=text, headers={"content-type": "application/json"})
    popped = plain.get("/v1/job", params={"queue": queue}).text
    assert '{"a": 1.10, "b": 1e400, "c": 123456789012345678901234567890, "d": "\\u00e9", "e": [[]]}' in popped


def test_ids_of_resubmitted_jobs_are_normalised(plain: httpx.Client) -> None:
    canonical = "88888888-aaaa-4888-8888-88888888ffff"
    for form in (canonical.upper(), canonical.replace("-", ""), canonical):
        assert submit(plain, job_id=form).json() == {"job_id": canonical}


def test_head_takes_nothing_away(plain: httpx.Client) -> None:
    queue = queue_name()
    job_id = plain.post("/v1/job", json={"job_queue": queue}).json()["job_id"]
    assert plain.head("/v1/job", params={"queue": queue}).status_code == 204
    assert plain.get("/v1/job", params={"queue": queue}).json()["job_id"] == job_id
    plain.post(f"/v1/result/{job_id}/output", content=b"x")
    assert plain.head(f"/v1/result/{job_id}/output").status_code == 204
    assert plain.get(f"/v1/result/{job_id}/output").text == "x"


def test_codes_that_come_as_text_are_numbers(plain: httpx.Client) -> None:
    path = "/v1/result/99999999-9999-4999-8999-999999999999"
    plain.post(path, json={"status": {"test": "3"}, "exit_code": "0", "setup_status": 4.0})
    assert plain.get(path).json() == {"exit_code": 0, "setup_status": 4, "test_status": 3}


def test_an_agent_that_is_excluded_gets_nothing_and_nobody_left_is_422(plain: httpx.Client) -> None:
    queue = queue_name()
    for name in ("one", "two"):
        plain.post(f"/v1/agents/data/{queue}-{name}", json={"queues": [queue]})
    plain.cookies.clear()
    barred = {"job_queue": queue, "exclude_agents": [f"{queue}-one"]}
    assert plain.post("/v1/job", json=barred).status_code == 200

    def pop(name: str) -> int:
        return plain.get(
            "/v1/job", params={"queue": queue}, headers={"Cookie": f"agent_name={queue}-{name}"}
        ).status_code

    assert (pop("one"), pop("two")) == (204, 200)
    nobody = {"job_queue": queue, "exclude_agents": [f"{queue}-one", f"{queue}-two"]}
    reply = plain.post("/v1/job", json=nobody)
    text = "There are no agents on the specified queue that are allowed to run this job"
    assert (reply.status_code, reply.json()["message"]) == (422, text)


def test_attachments_are_taken_once_and_only_where_they_are_awaited(plain: httpx.Client) -> None:
    job_id = submit(plain, test_data={"attachments": [{"agent": "a"}]}).json()["job_id"]
    other = submit(plain).json()["job_id"]

    def attach(to: str, **options: Any) -> tuple[int, str]:
        reply = plain.post(f"/v1/job/{to}/attachments", **options)
        return reply.status_code, reply.text.strip()

    files = {"file": ("f", b"\x00" * 300_000)}
    assert plain.get(f"/v1/job/{job_id}/attachments").status_code == 204
    assert attach(other, files=files) == (422, f"Job {other} not awaiting attachments")
    assert attach(NIL, files=files) == (422, f"Job {NIL} is not valid")
    assert attach(job_id, files={"other": b"x"}) == (400, '{"detail":{},"message":"Bad Request"}')
    assert attach(job_id, json={}) == (400, '{"detail":{},"message":"Bad Request"}')
    assert attach(job_id, files=files) == (200, "OK")
    assert attach(job_id, files={"file": b"other"}) == (200, "OK")
    reply = plain.get(f"/v1/job/{job_id}/attachments")
    assert (reply.content, reply.headers["content-type"]) == (files["file"][1], "application/gzip")


def test_artifacts_are_byte_exact_and_never_compressed_again(plain: httpx.Client) -> None:
    job_id = "44444444-4444-4444-8444-444444444444"
    data = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(100_000))
    for content in (b"first", data):
        reply = plain.post(f"/v1/result/{job_id}/artifact", files={"file": ("f", content)})
        assert reply.text == "OK"
    with plain.stream("GET", f"/v1/result/{job_id}/artifact", headers={"accept-encoding": "gzip"}) as got:
        assert b"".join(got.iter_raw()) == data
        assert "content-encoding" not in got.headers
        assert got.headers["content-disposition"].startswith("attachment")


def test_a_result_merges_member_by_member_in_both_shapes(plain: httpx.Client) -> None:
    path = "/v1/result/55555555-5555-4555-8555-555555555555"
    for body in (
        {"status": {"setup": 0, "test": 3}, "device_info": {"a": 1}},
        {"setup_status": 1, "setup_output": "flat"},
        {"job_state": "anything"},
    ):
        assert plain.post(path, json=body).text == "OK"
    assert plain.get(path).json() == {
        "device_info": {"a": 1},
        "job_state": "anything",
        "setup_output": "flat",
        "setup_status": 1,
        "test_status": 3,
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"bogus": 1}, {"bogus": ["Unknown field."]}),
        (
            {"status": {"bogus": 1}},
            {
                "status": {
                    "bogus": {
                        "key": ["Must be one of: setup, provision, firmware_update, test, allocate, reserve, cleanup."]
                    }
                }
            },
        ),
        ({"exit_code": "x"}, {"exit_code": ["Not a valid integer."]}),
        ([], {"_schema": ["Invalid input type."]}),
    ],
)
def test_what_is_wrong_with_a_result_is_said_by_member(plain: httpx.Client, body: Any, said: Any) -> None:
    reply = plain.post(f"/v1/result/{NIL}", json=body)
    assert (reply.status_code, reply.json()) == (422, {"detail": {"json": said}, "message": "Validation error"})


def test_a_result_of_16_mib_is_too_large(plain: httpx.Client) -> None:
    reply = plain.post(f"/v1/result/{NIL}", json={"output": "x" * (16 << 20)})
    assert (reply.status_code, reply.json()["message"]) == (413, "Payload too large")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {},
            {name: [MISSING] for name in ("fragment_number", "timestamp", "phase", "log_data")},
        ),
        (
            {"fragment_number": 0, "timestamp": NOW, "phase": "bogus", "log_data": ""},
            {"phase": ["Must be one of: setup, provision, firmware_update, test, allocate, reserve, cleanup."]},
        ),
    ],
)
def test_what_is_wrong_with_a_fragment_is_said_by_member(plain: httpx.Client, body: Any, said: Any) -> None:
    reply = plain.post(f"/v1/result/{NIL}/log/output", json=body)
    assert (reply.status_code, reply.json()["detail"]) == (422, {"json": said})


def test_fragments_are_read_from_a_number_or_a_time_on(plain: httpx.Client) -> None:
    path = "/v1/result/66666666-6666-4666-8666-666666666666/log/serial"
    for number, second in ((0, 30), (1, 40), (2, 50)):
        stamp = f"2026-11-20T15:44:{second}+00:00"
        body = {"fragment_number": number, "timestamp": stamp, "phase": "test", "log_data": str(number)}
        assert plain.post(path, json=body).text == "OK"

    def text(**query: Any) -> str:
        data: str = plain.get(path, params=query).json()["serial"]["test"]["log_data"]
        return data

    assert (text(), text(start_fragment=1), text(start_timestamp="2026-11-20T15:44:40+00:00")) == ("012", "12", "12")
    whole = plain.get(path).json()["serial"]
    assert len(whole) == 7 and whole["setup"] == {"last_fragment_number": -1, "log_data": ""}
    wrong = plain.get(path, params={"start_fragment": -1})
    said = {"start_fragment": ["Must be greater than or equal to 0."]}
    assert (wrong.status_code, wrong.json()) == (400, {"detail": {}, "message": said})
    unknown = plain.get(path, params={"foo": 1})
    assert (unknown.status_code, unknown.json()) == (400, {"foo": ["Unknown field."]})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/result/x/artifact", "Invalid job id\n"),
        ("/v1/result/x/output", "Invalid job id\n"),
        ("/v1/job/x/attachments", "Invalid job id\n"),
        ("/v1/result/x/log/output", '{"detail":{},"message":"Invalid job id\\n"}\n'),
    ],
)
def test_bad_ids_are_told_as_each_path_tells_them(plain: httpx.Client, path: str, message: str) -> None:
    reply = plain.get(path)
    assert (reply.status_code, reply.text) == (400, message)
    assert plain.post("/v1/job/x/action", json={"action": "cancel"}).text == "Invalid job id\n"


def test_agents_are_changed_in_part_and_show_their_restrictions(plain: httpx.Client) -> None:
    name, queue = queue_name(), queue_name()
    plain.post(f"/v1/agents/data/{name}", json={"state": "waiting", "queues": [queue], "log": ["a"]})
    plain.cookies.clear()
    said = '{"rack": 1.10, "id": 123456789012345678901, "name": "another", "updated_at": 1}'
    plain.post(f"/v1/agents/data/{name}", content=said, headers={"Content-Type": "application/json"})
    plain.cookies.clear()
    for path in (f"/v1/agents/data/{name}", "/v1/agents/data"):
        assert '"rack":1.10,"id":123456789012345678901' in plain.get(path).text
    assert plain.post(f"/v1/agents/data/{name}", json={"state": 5}).status_code == 422
    plain.cookies.clear()
    plain.post(f"/v1/agents/data/{name}", json={"comment": "c"})
    cookie = plain.cookies["agent_name"]
    plain.cookies.clear()
    agent = plain.get(f"/v1/agents/data/{name}").json()
    assert (cookie, agent["state"], agent["comment"], agent["queues"]) == (name, "waiting", "c", [queue])
    assert (agent["name"], agent["id"]) == (name, 123456789012345678901)
    assert "log" not in agent and agent["restricted_to"] == {}
    assert set(agent) >= {"name", "location", "provision_type", "job_id", "identifier", "updated_at"}
    unknown = plain.get(f"/v1/agents/data/{queue}")
    assert (unknown.status_code, unknown.json()) == (404, {})


def test_the_cookie_of_an_agent_is_kept_from_scripts(plain: httpx.Client) -> None:
    reply = plain.post("/v1/agents/data/an%20agent", json={})
    plain.cookies.clear()
    assert reply.headers["set-cookie"] == "agent_name=an%20agent; HttpOnly; Path=/; SameSite=Strict"
    again = plain.post("/v1/agents/data/an%20agent", json={}, headers={"Cookie": "agent_name=an%20agent"})
    plain.cookies.clear()
    assert again.json() == {"status": "OK"}


def test_queue_pages_know_their_jobs_and_agents(plain: httpx.Client) -> None:
    queue = queue_name()
    assert plain.get(f"/v1/queues/{queue}/jobs").status_code == 204
    job_id = plain.post("/v1/job", json={"job_queue": queue}).json()["job_id"]
    (job,) = plain.get(f"/v1/queues/{queue}/jobs").json()
    assert (job["job_id"], job["job_queue"], job["job_state"]) == (job_id, queue, "waiting")
    assert len(job["created_at"]) == 20


def test_images_are_free_form_and_replaced_by_queue(plain: httpx.Client) -> None:
    one, two = queue_name(), queue_name()
    plain.post("/v1/agents/images", json={one: {"a": "url: x"}, two: {}})
    plain.post("/v1/agents/images", json={one: {"b": {"c": [1]}}})
    assert plain.get(f"/v1/agents/images/{one}").json() == {"b": {"c": [1]}}
    assert plain.get(f"/v1/agents/images/{two}").json() == {}
