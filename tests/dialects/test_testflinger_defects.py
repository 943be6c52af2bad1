"""Defects of Testflinger's own servers, numbered as in the contract (testflinger.md, §12): `DEFECTS` has a row for
each that it names, with the test that shows that we don't have it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from testflinger_clients import NewAgent, NewCli, OldAgent, OldCli, Refused, good
from testflinger_server import NIL, PATIENCE, LabServer, basic, queue_name

from runner_service.domain.queues import PHASES

NOW = "2026-11-20T15:44:33+00:00"
ROOM = Path(__file__).parent.parent
DEFECTS: list[tuple[int, str, str]] = [
    (1, "a cancelled running job ends as complete", "test_1_a_cancelled_running_job_does_not_end_as_complete"),
    (2, "one job_id posted twice becomes two jobs", "test_2_one_job_id_posted_twice_is_one_job"),
    (3, "removing one owner opens a restricted queue", "test_3_taking_one_owner_away_opens_the_queue_to_nobody"),
    (4, "anybody may cancel anybody's job", "test_4_only_the_submitter_or_who_stands_above_may_cancel"),
    (5, "repeated log fragments", "test_5_repeated_fragments_add_nothing_and_late_ones_are_put_in_order"),
    (6, "search cannot find what waits, runs or is complete", "test_6_search_finds_waiting_running_and_complete_jobs"),
    (7, "a dead agent's job stays running", "test_7_the_job_of_a_dead_agent_ends_and_the_agent_shows_as_offline"),
    (7, "or is requeued", "test_7_the_job_of_a_dead_agent_goes_to_another_one_where_the_setting_says_so"),
    (8, "an agent posts for any job", "test_8_an_agent_with_a_token_speaks_for_itself_alone"),
    (8, "an agent pops under another name", "test_8_a_stolen_name_pops_nothing_and_posts_nothing"),
    (9, "500: unknown log type, [] as queues, refused webhook", "test_9_what_upstream_answers_with_500_has_an_answer"),
    (9, "400: cancel of an unknown job", "test_9_a_cancel_of_an_unknown_job_is_404"),
    (10, "a webhook to any URL: link-local", "test_10_no_webhook_to_link_local_addresses"),
    (10, "a webhook to any URL: the allow-list", "test_10_no_webhook_to_hosts_that_are_not_on_the_list"),
    (11, "wait times wrap after 24 hours", "test_waits_do_not_wrap_after_a_day_and_are_those_of_the_latest_jobs"),
    (11, "percentiles", "test_11_wait_times_do_not_wrap_and_have_all_percentiles"),
    (12, "first in, first out by accident", "test_12_first_in_first_out_within_a_priority"),
    (13, "access outlives a revoked token", "test_13_a_revoked_refresh_token_takes_its_access_tokens_with_it"),
]


def test_each_defect_of_the_list_has_its_tests() -> None:
    assert {number for number, _, _ in DEFECTS} == set(range(1, 14))
    sources = "".join(path.read_text() for path in ROOM.rglob("test_*.py"))
    assert [test for _, _, test in DEFECTS if f"def {test}(" not in sources] == []
    here = {name for name in globals() if re.match(r"test_\d+_", name)}
    assert here <= {test for _, _, test in DEFECTS}


@pytest.fixture
def http(lab: LabServer) -> Iterator[Callable[[], httpx.Client]]:
    made: list[httpx.Client] = []

    def make() -> httpx.Client:
        made.append(lab.http())
        return made[-1]

    yield make
    for one in made:
        one.close()


def cli(http: httpx.Client, client_id: str) -> NewCli:
    made = NewCli(http)
    made.log_in(client_id)
    http.headers["Authorization"] = f"Bearer {made.token}"
    return made


def agent(http: httpx.Client, *queues: str, client_id: str = "robot", kind: type[OldAgent] = NewAgent) -> OldAgent:
    options = {"client_id": client_id} if kind is NewAgent else {}
    made = kind(http, queue_name().replace("queue", "agent"), queues, **options)
    made.announce()
    return made


@pytest.fixture
def queue() -> str:
    return queue_name()


def test_1_a_cancelled_running_job_does_not_end_as_complete(http: Callable[[], httpx.Client], queue: str) -> None:
    old, person = agent(http(), queue, kind=OldAgent), OldCli(http())
    job_id = person.submit(queue)
    job = old.take()
    person.cancel(job_id)
    for word in ("test", "complete", "reserve", "complete"):
        old.result(job, job_state=word, test_status=0)
        assert person.state(job_id) == "cancelled"
    assert person.results(job_id)["test_status"] == 0
    found = person.http.get("/v1/job/search", params={"state": ["cancelled"]}).json()
    assert job_id in {one["job_id"] for one in found}


def test_2_one_job_id_posted_twice_is_one_job(http: Callable[[], httpx.Client], queue: str) -> None:
    person, old = OldCli(http()), agent(http(), queue, kind=OldAgent)
    job_id = person.submit(queue)
    assert person.submit(queue, job_id=job_id) == job_id
    assert old.take()["job_id"] == job_id
    assert old.get_job() is None
    new_id = "22222222-2222-4222-8222-222222222222"
    assert {person.submit(queue, job_id=new_id) for _ in range(3)} == {new_id}
    old.finish(old.take())
    with pytest.raises(Refused) as refused:
        person.submit(queue, job_id=new_id)
    assert refused.value.status == 409


def test_3_taking_one_owner_away_opens_the_queue_to_nobody(http: Callable[[], httpx.Client], queue: str) -> None:
    chief, maker, other = cli(http(), "chief"), cli(http(), "maker"), cli(http(), "other")
    agent(http(), queue)
    path = f"/v1/restricted-queues/{queue}"
    for owner in ("maker", "boss"):
        assert good(chief.http.post(path, json={"client_id": owner})).text == "OK"
    assert chief.http.get(path).json() == {"owners": ["boss", "maker"], "queue": queue}

    def refused(by: NewCli) -> tuple[int, str]:
        with pytest.raises(Refused) as caught:
            by.submit(queue)
        return caught.value.status, caught.value.reply.json()["message"]

    no = (403, f"Not enough permissions to push to the restricted queue: {queue}")
    assert maker.submit(queue) and refused(other) == no
    for owner in ("boss", "maker"):
        good(chief.http.request("DELETE", path, json={"client_id": owner}))
        assert refused(other) == no
    assert refused(maker) == no
    with pytest.raises(Refused) as caught:
        OldCli(http()).submit(queue)
    assert caught.value.reply.json()["message"] == f"Authentication required to push to restricted queue: {queue}"
    assert caught.value.status == 401
    assert chief.http.get(path).json() == {"owners": [], "queue": queue}
    good(chief.http.request("DELETE", path, json={}))
    assert other.submit(queue)
    assert chief.http.get(path).status_code == 404


def test_4_only_the_submitter_or_who_stands_above_may_cancel(http: Callable[[], httpx.Client], queue: str) -> None:
    maker, other, chief = cli(http(), "maker"), cli(http(), "other"), cli(http(), "chief")
    for above in (maker, chief):
        job_id = maker.submit(queue)
        for stranger in (other, OldCli(http())):
            with pytest.raises(Refused) as refused:
                stranger.cancel(job_id)
            assert refused.value.status == 403 and refused.value.reply.json()["message"]
        above.cancel(job_id)
        assert maker.state(job_id) == "cancelled"
    anonymous = OldCli(http())
    job_id = anonymous.submit(queue)
    OldCli(http()).cancel(job_id)


def test_5_repeated_fragments_add_nothing_and_late_ones_are_put_in_order(http: Callable[[], httpx.Client]) -> None:
    client, job_id = http(), "33333333-3333-4333-8333-333333333333"
    for number in (2, 0, 2, 1, 0, 1, 2):
        body = {"fragment_number": number, "timestamp": NOW, "phase": "test", "log_data": f"{number}\n"}
        good(client.post(f"/v1/result/{job_id}/log/output", json=body))
    log = client.get(f"/v1/result/{job_id}/log/output", params={"phase": "test"}).json()
    assert log == {"output": {"test": {"last_fragment_number": 2, "log_data": "0\n1\n2\n"}}}
    assert client.get(f"/v1/result/{job_id}").json() == {"test_output": "0\n1\n2\n"}


def test_6_search_finds_waiting_running_and_complete_jobs(http: Callable[[], httpx.Client], queue: str) -> None:
    person, old = OldCli(http()), agent(http(), queue, kind=OldAgent)

    def found(*states: str) -> dict[str, str]:
        reply = person.http.get("/v1/job/search", params={"tags": queue, "state": list(states)})
        return {one["job_id"]: one["job_state"] for one in good(reply).json()}

    done, running, waiting = (person.submit(queue, tags=[queue]) for _ in range(3))
    old.finish(old.take())
    job = old.take()
    assert found("waiting") == {waiting: "waiting"}
    assert found("running") == {running: "running"}
    for word in (*PHASES[:-1], "allocated", "a word of its own"):
        old.result(job, job_state=word)
        assert found("running") == {running: word}
        assert set(found("active")) == {waiting, running}
    assert found("setup") == {}
    assert found("complete") == found("completed") == {done: "complete"}
    assert set(found("active")) == {waiting, running}
    assert set(found()) == {done, running, waiting}


def test_7_the_job_of_a_dead_agent_ends_and_the_agent_shows_as_offline(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    times = {"default_timeout_seconds": 0.05, "lease_grace_seconds": 0.1, "lease_sweep_seconds": 0.05}
    with LabServer(tmp_path_factory.mktemp("dead"), **times) as lab, lab.http() as client:
        old, person = OldAgent(client, "mortal", ("q",)), OldCli(client)
        old.announce()
        job_id = person.submit("q")
        old.take()
        ended = threading.Event()
        while person.state(job_id) == "running":
            ended.wait(0.05)
        assert person.state(job_id) == "complete"
        (listed,) = client.get("/v1/queues/q/agents").json()
        assert listed["state"] == "offline"
        # It lives after all, and says so. What it reads of itself is its own word: it need not stay away.
        assert (
            client.get("/v1/agents/data/mortal", headers={"Cookie": "agent_name=mortal"}).json()["state"] == "waiting"
        )
        old.announce()
        (listed,) = client.get("/v1/queues/q/agents").json()
        assert listed["state"] == "waiting"


def test_7_the_job_of_a_dead_agent_goes_to_another_one_where_the_setting_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    times = {"default_timeout_seconds": 0.05, "lease_grace_seconds": 0.1, "lease_sweep_seconds": 0.05}
    with LabServer(tmp_path_factory.mktemp("requeued"), requeue_lost_jobs=True, **times) as lab, lab.http() as client:
        dead, other, person = OldAgent(client, "dead", ("q",)), OldAgent(client, "other", ("q",)), OldCli(client)
        for one in (dead, other):
            one.announce()
        job_id = person.submit("q")
        dead.take()
        tick, deadline = threading.Event(), time.monotonic() + PATIENCE
        while (job := other.get_job()) is None and time.monotonic() < deadline:
            tick.wait(0.05)
        assert job is not None and job["job_id"] == job_id


def test_8_an_agent_with_a_token_speaks_for_itself_alone(http: Callable[[], httpx.Client], queue: str) -> None:
    mine, other = agent(http(), queue), agent(http(), queue, client_id="robot-2")
    person = OldCli(http())
    job_id = person.submit(queue)
    job = mine.take()
    posts: list[tuple[str, dict[str, Any]]] = [
        (f"/v1/result/{job_id}", {"json": {"job_state": "complete"}}),
        (f"/v1/result/{job_id}/output", {"content": b"x"}),
        (f"/v1/result/{job_id}/artifact", {"files": {"file": b"x"}}),
        (f"/v1/agents/data/{mine.name}", {"json": {"state": "offline"}}),
        (f"/v1/agents/provision_logs/{mine.name}", {"json": {"job_id": job_id, "exit_code": 1}}),
    ]
    for path, options in posts:
        assert other.http.post(path, **options).status_code == 403, path
    # Not under a stolen name either: the name belongs to the token that it first came with.
    other.http.cookies.set("agent_name", mine.name)
    assert other.http.post(f"/v1/agents/data/{mine.name}", json={"state": "offline"}).status_code == 403
    assert person.state(job_id) == "running"
    assert mine.phase(job, "test")


def test_8_a_stolen_name_pops_nothing_and_posts_nothing(http: Callable[[], httpx.Client], queue: str) -> None:
    mine, other = agent(http(), queue), agent(http(), queue, client_id="robot-2")
    OldCli(http()).submit(queue)
    other.http.cookies.clear()
    other.http.cookies.set("agent_name", mine.name)
    assert other.http.get("/v1/job", params={"queue": queue}).status_code == 403
    job = mine.take()
    assert other.http.post(f"/v1/result/{job['job_id']}", json={"job_state": "complete"}).status_code == 403


def test_9_what_upstream_answers_with_500_has_an_answer(http: Callable[[], httpx.Client]) -> None:
    client = http()
    body = {"fragment_number": 0, "timestamp": NOW, "phase": "test", "log_data": ""}
    assert client.get(f"/v1/result/{NIL}/log/bogus").status_code == 404
    assert client.post(f"/v1/result/{NIL}/log/bogus", json=body).status_code == 404
    assert client.post("/v1/agents/queues", json=[]).status_code == 422
    assert client.post("/v1/agents/images", json=[]).status_code == 422
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    events = {"job_status_webhook": f"http://127.0.0.1:{port}/", "events": []}
    assert client.post(f"/v1/job/{NIL}/events", json=events).status_code == 504


def test_9_a_cancel_of_an_unknown_job_is_404(http: Callable[[], httpx.Client]) -> None:
    reply = http().post(f"/v1/job/{NIL}/action", json={"action": "cancel"})
    assert (reply.status_code, reply.json()["message"]) == (404, "Job not found")


def test_10_no_webhook_to_hosts_that_are_not_on_the_list(tmp_path_factory: pytest.TempPathFactory) -> None:
    listed = {"allowed_hosts": ["hooks.example.com"]}
    with LabServer(tmp_path_factory.mktemp("listed"), webhooks=listed) as lab, lab.http() as client:
        for host in ("127.0.0.1:1", "example.com", "hooks.example.com.evil.org"):
            events = {"job_status_webhook": f"http://{host}/", "events": []}
            reply = client.post(f"/v1/job/{NIL}/events", json=events)
            assert (reply.status_code, reply.json()["message"]) in (
                (403, "Invalid job_status_webhook URL specified"),
                (422, "Validation error"),
            ), host


def test_10_no_webhook_to_link_local_addresses(http: Callable[[], httpx.Client]) -> None:
    for host in ("169.254.169.254", "[fe80::1]"):
        events = {"job_status_webhook": f"http://{host}/latest/meta-data", "events": []}
        reply = http().post(f"/v1/job/{NIL}/events", json=events)
        assert (reply.status_code, reply.json()["message"]) in (
            (403, "Invalid job_status_webhook URL specified"),
            (422, "Validation error"),
        )


def test_11_wait_times_do_not_wrap_and_have_all_percentiles(http: Callable[[], httpx.Client], queue: str) -> None:
    person, old = OldCli(http()), agent(http(), queue, kind=OldAgent)
    for _ in range(3):
        person.submit(queue)
    for _ in range(3):
        old.take()
    times = person.http.get("/v1/queues/wait_times", params={"queue": [queue, "unknown"]}).json()
    assert list(times) == [queue] and list(times[queue]) == ["5", "10", "50", "90", "95"]
    values = list(times[queue].values())
    assert values == sorted(values) and values[0] >= 0


def test_12_first_in_first_out_within_a_priority(http: Callable[[], httpx.Client], queue: str) -> None:
    maker, old = cli(http(), "boss"), agent(http(), queue, kind=OldAgent)
    slow = [maker.submit(queue) for _ in range(5)]
    fast = [maker.submit(queue, job_priority=7) for _ in range(3)]
    assert [old.take()["job_id"] for _ in range(8)] == [*fast, *slow]


def test_13_a_revoked_refresh_token_takes_its_access_tokens_with_it(http: Callable[[], httpx.Client]) -> None:
    maker, boss = cli(http(), "maker"), cli(http(), "boss")
    own = good(http().post("/v1/oauth2/token", headers={"Authorization": basic("maker")})).json()
    maker.refresh_token = own["refresh_token"]
    body = {"refresh_token": maker.refresh_token}
    fresh = good(http().post("/v1/oauth2/refresh", json=body)).json()
    assert (fresh["token_type"], fresh["expires_in"]) == ("Bearer", 600)
    assert maker.http.post("/v1/oauth2/revoke", json=body).status_code == 403
    assert good(boss.http.post("/v1/oauth2/revoke", json=body)).json() == {"status": "OK"}
    for token in (own["access_token"], fresh["access_token"]):
        dead = http().get("/v1/agents/queues", headers={"Authorization": f"Bearer {token}"})
        assert (dead.status_code, dead.json()["message"]) == (401, "Token has expired")
    assert boss.http.get("/v1/agents/queues").status_code == 200
    again = http().post("/v1/oauth2/refresh", json=body)
    assert (again.status_code, again.json()["message"]) == (400, "Refresh token revoked.")
    twice = boss.http.post("/v1/oauth2/revoke", json=body)
    assert (twice.status_code, twice.json()["message"]) == (400, "Refresh token has already been revoked")
    unknown = http().post("/v1/oauth2/refresh", json={"refresh_token": "x"})
    assert unknown.json()["message"] == "Invalid refresh token."
