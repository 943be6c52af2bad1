"""RunCommand with `wait`: submit and result in one call, by gRPC and by REST."""

from __future__ import annotations

import httpx

from runner.v1.job_pb2 import Job
from runner_client import AsyncClient


async def test_a_command_is_run_and_its_end_comes_with_the_reply(client: AsyncClient) -> None:
    command = await client.run(["sh", "-c", "exit 7"], wait=60)
    assert (command.state, command.outcome.exit_code) == (Job.STATE_FAILED, 7)


async def test_what_takes_longer_is_shown_as_it_stands(client: AsyncClient) -> None:
    command = await client.run(["sleep", "30"], wait=0.001)
    assert command.state in (Job.STATE_QUEUED, Job.STATE_ASSIGNED, Job.STATE_RUNNING)
    await client.cancel(command.job_id)


async def test_a_repeated_request_waits_for_the_command_of_then(client: AsyncClient) -> None:
    first = await client.run(["true"], request_id="run-and-wait", wait=60)
    again = await client.run(["true"], request_id="run-and-wait", wait=60)
    assert (again.job_id, again.state) == (first.job_id, Job.STATE_SUCCEEDED)


async def test_rest_waits_too(http: httpx.AsyncClient) -> None:
    reply = await http.post("/api/v2/commands", json={"argv": ["true"], "wait": "60s"})
    assert reply.json()["command"]["state"] == "STATE_SUCCEEDED"
    refused = await http.post("/api/v2/commands", json={"argv": ["true"], "wait": "-1s"})
    assert (refused.status_code, refused.json()["details"][0]["metadata"]["field"]) == (400, "wait")
