"""Requests that are repeated, waited for, watched and retried, by gRPC and REST."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import httpx
import pytest
from e2e_following import STDOUT, Followed, by_grpc
from e2e_jobs import script, wait_for
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner_client import AlreadyExists, AsyncClient, FailedPrecondition


async def test_a_request_id_makes_one_job_by_grpc_and_rest_together(
    client: AsyncClient, http: httpx.AsyncClient
) -> None:
    request_id = uuid.uuid4().hex
    calls = [client.run(["echo", "once"], tags={"a": "b"}, request_id=request_id) for _ in range(10)]
    found = {command.job_id for command in await asyncio.gather(*calls)}
    body = {"argv": ["echo", "once"], "tags": {"a": "b"}, "requestId": request_id}
    for _ in range(2):
        reply = (await http.post("/api/v2/commands", json=body)).raise_for_status().json()
        found.add(reply["command"]["jobId"])
    assert len(found) == 1
    # Also when it has ended.
    await client.wait(found.pop())
    reply = (await http.post("/api/v2/commands", json=body)).raise_for_status().json()
    assert reply["command"]["state"] == "STATE_SUCCEEDED"


async def test_a_request_id_with_another_request_is_refused(client: AsyncClient, http: httpx.AsyncClient) -> None:
    request_id = uuid.uuid4().hex
    await client.run(["echo", "once"], request_id=request_id)
    with pytest.raises(AlreadyExists) as refused:
        await client.run(["echo", "twice"], request_id=request_id)
    assert refused.value.reason == "REQUEST_ID_REUSED"
    reply = await http.post("/api/v2/commands", json={"argv": ["echo", "twice"], "requestId": request_id})
    assert reply.status_code == 409
    assert reply.json()["details"][0]["reason"] == "REQUEST_ID_REUSED"


async def test_a_command_has_limits_too(http: httpx.AsyncClient) -> None:
    body = {"argv": ["true"], "limits": {"memoryBytes": "67108864", "processes": 9}}
    command = (await http.post("/api/v2/commands", json=body)).raise_for_status().json()["command"]
    assert command["limits"] == {"cpus": 0.0, "memoryBytes": "67108864", "processes": 9, "diskBytes": "0"}
    job = (await http.get(f"/api/v2/jobs/{command['jobId']}")).raise_for_status().json()["job"]
    assert job["spec"]["limits"] == command["limits"]


async def test_wait_returns_the_end_or_the_job_as_it_stands(http: httpx.AsyncClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    body = {"spec": {"steps": [{"script": wait_for(gate)}]}}
    job = (await http.post("/api/v2/jobs", json=body)).raise_for_status().json()["job"]
    url = f"/api/v2/jobs/{job['jobId']}:wait"
    reply = (await http.get(url, params={"timeout": "0.05s"})).raise_for_status().json()
    assert reply["job"]["state"] in ("STATE_QUEUED", "STATE_ASSIGNED", "STATE_RUNNING")
    waiting = asyncio.create_task(http.get(url, params={"timeout": "60s"}))
    gate.touch()
    assert (await waiting).json()["job"]["state"] == "STATE_SUCCEEDED"


async def test_watch_tells_every_move_and_ends_with_the_last(client: AsyncClient, http: httpx.AsyncClient) -> None:
    job = await client.create_job(script("echo x; exit 2"))
    events = [event async for event in client.watch(job.job_id)]
    assert [event.kind for event in events] == ["created", "assigned", "running", "finished"]
    assert events[-1].state == Job.STATE_FAILED
    # By SSE, behind the second, as a browser that reconnects.
    headers = {"accept": "text/event-stream", "last-event-id": str(events[1].sequence)}
    async with http.stream("GET", f"/api/v2/jobs:watch?job_id={job.job_id}", headers=headers) as reply:
        assert reply.status_code == 200
        lines = [line async for line in reply.aiter_lines() if line.startswith(("id: ", "data: "))]
    assert lines[::2] == [f"id: {event.sequence}" for event in events[2:]]
    assert [json.loads(line.removeprefix("data: "))["event"]["kind"] for line in lines[1::2]] == ["running", "finished"]


async def test_watching_all_jobs_begins_with_the_present(client: AsyncClient) -> None:
    before = await client.create_job(script("true"))
    await client.wait(before.job_id)
    seen: list[str] = []
    opened = asyncio.Event()

    async def watch() -> None:
        async for event in client.watch():
            seen.append(event.job_id)
            if event.kind == "finished" and event.detail != "first":
                opened.set()
                if seen.count(event.job_id) >= 4:
                    return

    watching = asyncio.create_task(watch())
    jobs = []
    while not watching.done():
        # The stream opens some time after it is asked for: jobs are made until one is seen whole.
        jobs.append(await client.create_job(script("true")))
        await client.wait(jobs[-1].job_id)
        await asyncio.wait([watching], timeout=0.05)
    assert before.job_id not in seen
    assert set(seen) <= {job.job_id for job in jobs}


async def test_a_failing_job_is_retried_and_its_log_holds_every_attempt(client: AsyncClient, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    text = f"echo x >> {counter}; n=$(wc -l < {counter}); echo attempt $n; test $n -eq 3"
    job = await client.create_job(script(text, max_attempts=5))
    followed = await by_grpc(client, job.job_id, Followed())
    assert followed.bytes_of(STDOUT) == b"attempt 1\nattempt 2\nattempt 3\n"
    followed.check_order()
    assert followed.end["state"] == "STATE_SUCCEEDED"
    attempts = await client.list_attempts(job.job_id)
    assert [attempt.outcome.exit_code for attempt in attempts] == [1, 1, 0]
    assert [attempt.number for attempt in attempts] == [1, 2, 3]
    assert (await client.get_job(job.job_id)).attempts == 3
    kinds = [event.kind async for event in client.watch(job.job_id)]
    assert kinds == ["created", *["assigned", "running", "requeued"] * 2, "assigned", "running", "finished"]


async def test_what_failed_is_done_again_by_a_new_job(
    client: AsyncClient, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    old = await client.create_job(script(f"test -e {tmp_path}/right"))
    assert (await client.wait(old.job_id)).outcome.exit_code == 1
    (tmp_path / "right").touch()
    url, body = f"/api/v2/jobs/{old.job_id}:retry", {"requestId": uuid.uuid4().hex}
    new = (await http.post(url, json=body)).raise_for_status().json()["job"]
    assert (new["retryOf"], new["state"]) == (old.job_id, "STATE_QUEUED")
    assert (await client.wait(new["jobId"])).state == Job.STATE_SUCCEEDED
    again = (await http.post(url, json=body)).raise_for_status().json()["job"]
    assert (again["jobId"], again["state"]) == (new["jobId"], "STATE_SUCCEEDED")
    assert (await client.get_job(old.job_id)).state == Job.STATE_FAILED
    with pytest.raises(FailedPrecondition, match="it has not ended") as refused:
        await client.retry((await client.create_job(script("true", labels={"no": "such"}))).job_id)
    assert refused.value.reason == "JOB_NOT_RETRYABLE"


async def test_steps_run_in_order_and_the_first_that_fails_ends_the_job(client: AsyncClient) -> None:
    from runner.v1.job_pb2 import Argv, JobSpec, Step

    steps = [
        Step(name="one", script="echo $WORD > file; pwd"),
        Step(name="two", argv=Argv(args=["cat", "file"])),
        Step(name="three", script="exit 6"),
        Step(name="four", script="echo never"),
    ]
    job = await client.create_job(JobSpec(steps=steps, environment={"WORD": "hello"}))
    followed = await by_grpc(client, job.job_id, Followed())
    directory, word = followed.bytes_of(STDOUT).decode().split()
    assert word == "hello"
    # The worker lets go of it once the server has taken its report, which is after the job's end is seen.
    await until(lambda: not Path(directory).exists(), what="the end of the fresh directory")
    ended = await client.get_job(job.job_id)
    assert (ended.outcome.exit_code, ended.outcome.step) == (6, 2)


async def test_a_timeout_that_has_passed_starts_nothing(client: AsyncClient, tmp_path: Path) -> None:
    command = await client.run(["touch", str(tmp_path / "ran")], timeout=-1)
    job = await client.wait(command.job_id)
    assert job.state == Job.STATE_TIMED_OUT
    assert not (tmp_path / "ran").exists()


async def test_listing_filters_and_pages(client: AsyncClient, http: httpx.AsyncClient) -> None:
    mark = uuid.uuid4().hex
    jobs = [await client.run(["sh", "-c", f"exit {number % 2}"], tags={"mark": mark}) for number in range(5)]
    for job in jobs:
        await client.wait(job.job_id)
    parameters = {"tags[mark]": mark, "page_size": "2"}
    seen, token = [], ""
    while True:
        page = (
            (await http.get("/api/v2/commands", params={**parameters, "page_token": token})).raise_for_status().json()
        )
        assert page["totalSize"] == 5
        seen += [command["jobId"] for command in page["commands"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert seen == [job.job_id for job in jobs[::-1]]
    failed = [job.job_id async for job in client.list_jobs(states=[Job.STATE_FAILED], tags={"mark": mark})]
    assert failed == [jobs[3].job_id, jobs[1].job_id]
    skipped = (await http.get("/api/v2/commands", params={**parameters, "skip": "4"})).json()["commands"]
    assert [command["jobId"] for command in skipped] == [jobs[0].job_id]
