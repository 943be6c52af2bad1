"""Lab queues end to end: our own runner serves one beside its other work, and clients of labs see it as an agent's."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e_command_line import CommandLine
from e2e_jobs import script, wait_for
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner_client import AsyncClient, InvalidArgument
from runner_service.domain.ids import new_id

COMMANDS = {
    "lab": {
        "setup": 'echo "set up $LAB_JOB_ID"',
        "provision": 'echo "$LAB_JOB" | grep -o "noble" && sleep 0.01',
        "reserve": 'echo "reserved for $LAB_RESERVE_SECONDS"',
        "cleanup": "echo swept",
    },
    "other": {"cleanup": 'echo "off $LAB_JOB_ID"; exit 4'},
    "console": {"serial": 'echo "boot of $LAB_QUEUE"; echo oops >&2; exec sleep 1000'},
}


CLIENT = {"client_id": "maker", "secret": "secret-of-maker-1", "role": "contributor"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("lab"))
    process.settings["executor"]["queues"] = ["lab", "other", "console"]
    process.settings["executor"]["kill_grace_seconds"] = 10  # A cleanup has no more.
    process.settings["testflinger"] = {"commands": COMMANDS, "clients": [CLIENT]}
    process.start()
    yield process
    process.close()


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[AsyncClient]:
    async with server.client() as made:
        yield made


class Lab:
    """What a command line of a lab asks."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def submit(self, queue: str = "lab", **members: Any) -> str:
        reply = await self.http.post("/v1/job", json={"job_queue": queue, **members})
        job_id: str = reply.raise_for_status().json()["job_id"]
        return job_id

    async def result(self, job_id: str) -> dict[str, Any]:
        result: dict[str, Any] = (await self.http.get(f"/v1/result/{job_id}")).raise_for_status().json()
        return result

    async def when(self, job_id: str, *states: str) -> dict[str, Any]:
        async def there() -> bool:
            return (await self.result(job_id))["job_state"] in states

        await until(there, what=f"one of {states}")
        return await self.result(job_id)

    async def wrote(self, job_id: str, member: str, value: object) -> dict[str, Any]:
        async def there() -> bool:
            return bool((await self.result(job_id)).get(member) == value)

        await until(there, what=f"{member} {value!r}")
        return await self.result(job_id)


@pytest.fixture
async def lab(http: httpx.AsyncClient) -> Lab:
    return Lab(http)


async def test_our_runner_takes_jobs_of_its_queue_and_shows_phases_codes_and_output(
    lab: Lab, client: AsyncClient
) -> None:
    job_id = await lab.submit(
        provision_data={"distro": "noble"},
        test_data={"test_cmds": "echo tested; echo oops >&2"},
        reserve_data={"timeout": "30m"},
    )
    result = await lab.when(job_id, "complete")
    assert {name: result[name] for name in result if name.endswith("_status")} == {
        "setup_status": 0,
        "provision_status": 0,
        "test_status": 0,
        "reserve_status": 0,
        "cleanup_status": 0,
    }
    assert result["setup_output"] == f"set up {job_id}\n"
    assert result["provision_output"] == "noble\n"
    assert sorted(result["test_output"].splitlines()) == ["oops", "tested"]
    assert result["reserve_output"] == "reserved for 1800\n"
    log = (await lab.http.get(f"/v1/result/{job_id}/log/output", params={"phase": "reserve"})).json()["output"]
    assert log["reserve"]["log_data"] == "reserved for 1800\n"
    first = (await lab.http.get(f"/v1/result/{job_id}/output")).text
    assert first.startswith("set up ") and first.endswith("reserved for 1800\nswept\n")
    assert (await lab.http.get(f"/v1/result/{job_id}/output")).status_code == 204
    assert (await client.get_job(job_id)).state == Job.STATE_SUCCEEDED


async def test_our_runner_unpacks_attachments_and_keeps_what_the_job_leaves(lab: Lab, tmp_path: Path) -> None:
    script = "mkdir artifacts artifacts/sub; cat attachments/test/input > artifacts/sub/output; exit 3"
    job_id = await lab.submit(test_data={"test_cmds": script, "attachments": [{"agent": "input"}]})
    data = b"\x00\xff" * 50_000
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("test/input")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    files = {"file": ("file", packed.getvalue())}
    assert (await lab.http.post(f"/v1/job/{job_id}/attachments", files=files)).text == "OK"
    result = await lab.when(job_id, "complete")
    assert (result["setup_status"], result["test_status"]) == (0, 3)
    reply = await lab.http.get(f"/v1/result/{job_id}/artifact")
    with tarfile.open(fileobj=io.BytesIO(reply.content), mode="r:gz") as tar:
        (name,) = tar.getnames()
        member = tar.extractfile(name)
        assert name == "artifacts/sub/output" and member is not None and member.read() == data
    bare = await lab.submit(test_data={"test_cmds": "true"})
    await lab.when(bare, "complete")
    assert (await lab.http.get(f"/v1/result/{bare}/artifact")).status_code == 204


async def test_behind_a_phase_that_fails_only_the_cleanup_runs_and_its_code_is_told(lab: Lab) -> None:
    job_id = await lab.submit(test_data={"test_cmds": "exit 46"}, reserve_data={"timeout": 60})
    result = await lab.when(job_id, "complete")
    assert (result["setup_status"], result["test_status"]) == (0, 46)
    assert "reserve_status" not in result
    assert (result["cleanup_status"], result["cleanup_output"]) == (0, "swept\n")


async def test_a_job_that_is_ended_has_a_cleanup_with_a_code_and_output_of_its_own(lab: Lab, tmp_path: Path) -> None:
    fine = await lab.submit("other", test_data={"test_cmds": "echo it\\'s fine"})
    result = await lab.when(fine, "complete")
    assert (result["test_output"], result["cleanup_output"]) == ("it's fine\n", f"off {fine}\n")
    assert (result["test_status"], result["cleanup_status"]) == (0, 4)
    waits = f"mkdir artifacts; echo kept > artifacts/file; echo begun; {wait_for(tmp_path / 'gate')}"
    held = await lab.submit("other", test_data={"test_cmds": waits})
    await lab.wrote(held, "test_output", "begun\n")
    await lab.http.post(f"/v1/job/{held}/action", json={"action": "cancel"})
    result = await lab.wrote(held, "cleanup_status", 4)
    assert result == {
        "job_state": "cancelled",
        "test_status": 143,
        "test_output": "begun\n",
        "cleanup_status": 4,
        "cleanup_output": f"off {held}\n",
    }
    with tarfile.open(fileobj=io.BytesIO((await lab.http.get(f"/v1/result/{held}/artifact")).content)) as tar:
        assert tar.getnames() == ["artifacts/file"]
    late = await lab.submit("other", global_timeout=1, test_data={"test_cmds": "sleep 1000"})
    result = await lab.when(late, "complete")
    assert (result["test_status"], result["cleanup_status"], result["cleanup_output"]) == (124, 4, f"off {late}\n")


async def test_the_console_of_a_device_is_the_serial_output(lab: Lab, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"echo out; echo err >&2; {wait_for(gate)}; exit 0"
    job_id = await lab.submit("console", test_data={"test_cmds": script})
    await lab.wrote(job_id, "test_serial", "boot of console\noops\n")
    assert (await lab.http.get(f"/v1/result/{job_id}/serial_output")).text == "boot of console\noops\n"
    assert (await lab.http.get(f"/v1/result/{job_id}/serial_output")).status_code == 204
    gate.touch()
    result = await lab.when(job_id, "complete")
    # As agents have it, what a phase writes is one output.
    assert (result["test_status"], result["test_output"]) == (0, "out\nerr\n")
    assert result["test_serial"] == "boot of console\noops\n"
    log = (await lab.http.get(f"/v1/result/{job_id}/log/serial")).json()["serial"]
    assert log["test"]["log_data"] == "boot of console\noops\n"
    # Where nothing reads a console, it may be posted by who does.
    other = await lab.submit("lab", test_data={"test_cmds": "true"})
    await lab.when(other, "complete")
    await lab.http.post(f"/v1/result/{other}/serial_output", content=b"from a console server\n")
    assert (await lab.http.get(f"/v1/result/{other}/serial_output")).text == "from a console server\n"


async def test_the_phase_that_runs_is_told_and_a_cancel_ends_it(lab: Lab, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = new_id()
    await lab.submit(job_id=job_id, tags=[job_id], test_data={"test_cmds": f"echo begun; {wait_for(gate)}"})
    await lab.when(job_id, "test")

    async def wrote() -> bool:
        return (await lab.result(job_id)).get("test_output") == "begun\n"

    await until(wrote, what="the output of the phase")

    async def states(*words: str) -> set[str]:
        reply = await lab.http.get("/v1/job/search", params={"tags": job_id, "state": list(words)})
        return {one["job_state"] for one in reply.raise_for_status().json()}

    assert [await states(word) for word in ("test", "running", "active", "setup", "completed")] == [
        *[{"test"}] * 3,
        *[set()] * 2,
    ]
    assert (await lab.result(job_id))["setup_status"] == 0
    reply = await lab.http.post(f"/v1/job/{job_id}/action", json={"action": "cancel"})
    assert reply.text == "OK"
    assert (await lab.result(job_id))["job_state"] == "cancelled"
    # Whoever posts for a job that a runner of ours has: it is data, and moves nothing.
    await lab.http.post(f"/v1/result/{job_id}", json={"job_state": "complete"})
    assert (await lab.result(job_id))["job_state"] == "cancelled"


async def test_agents_and_our_runner_share_a_queue_and_exclusions_hold(lab: Lab, client: AsyncClient) -> None:
    (ours,) = (await lab.http.get("/v1/queues/lab/agents")).json()
    assert ours["state"] == "waiting"
    job_id = await lab.submit(queue="other", exclude_agents=[ours["name"]])
    # Our runner is the only one there, and may not: so an agent gets it.
    later = await lab.submit(queue="other")
    await lab.when(later, "complete")
    assert (await lab.result(job_id))["job_state"] == "waiting"
    popped = await client.queues.pop(["other"], agent="somebody", lease_seconds=60)
    assert popped is not None and popped.job.job_id == job_id


async def test_the_native_service_pushes_pops_renews_and_reports(client: AsyncClient) -> None:
    pushed = await client.queues.push("native", b'{"x": 1.10, "test_data": {"test_cmds": "make"}}')
    again = await client.queues.push("native", b"{}", job_id=pushed.job.job_id)
    assert again.job.job_id == pushed.job.job_id
    popped = await client.queues.pop(["native"], agent="me", lease_seconds=30)
    assert (
        popped is not None and popped.definition == b'{"x":1.10,"test_data":{"test_cmds": "make"},"job_queue":"native"}'
    )
    assert await client.queues.pop(["native"]) is None
    renewed = await client.queues.renew(popped.job.job_id, agent="me", lease_seconds=60)
    assert renewed.lease_end_time.ToMicroseconds() > popped.lease_end_time.ToMicroseconds()
    reported = await client.queues.report(
        popped.job.job_id, agent="me", result=b'{"test_status": 0, "free": 1.10}', lab_state="test"
    )
    assert reported.lab_state == "test"
    done = await client.queues.report(popped.job.job_id, agent="me", lab_state="complete")
    assert (done.lab_state, done.job.state) == ("complete", Job.STATE_SUCCEEDED)
    found = await client.queues.get(popped.job.job_id)
    assert json.loads(found.result) == {"job_state": "complete", "test_status": 0, "free": 1.1}
    assert b'"free":1.10' in found.result


async def test_the_rest_api_of_queues(http: httpx.AsyncClient) -> None:
    pushed = await http.post("/api/v2/queues/rest/jobs", json={"definition": {"n": 12345678901234567890}})
    job = pushed.raise_for_status().json()["queueJob"]
    assert job["definition"] == {"n": 12345678901234567890, "job_queue": "rest"}
    popped = (await http.post("/api/v2/queues:pop", json={"queues": ["rest"], "lease": "60s"})).json()
    assert popped["queueJob"]["job"]["jobId"] == job["job"]["jobId"]
    empty = await http.post("/api/v2/queues:pop", json={"queues": ["rest"]})
    assert empty.json() == {}
    job_id = job["job"]["jobId"]
    ended = await http.post(f"/api/v2/queues/jobs/{job_id}:report", json={"labState": "complete"})
    assert ended.json()["queueJob"]["labState"] == "complete"
    listed = (await http.get("/api/v2/queues")).json()["queues"]
    assert {"lab", "other", "native"} & {queue["name"] for queue in listed} >= {"lab", "other"}
    waits = (await http.get("/api/v2/queues/waits", params={"queues": "rest"})).json()["queues"]
    assert set(waits[0]["seconds"]) == {"5", "10", "50", "90", "95"}
    wrong = await http.post("/api/v2/queues/rest/jobs", json={"definition": [1]})
    assert (wrong.status_code, wrong.json()["details"][0]["reason"]) == (400, "INVALID_ARGUMENT")


async def test_ordinary_jobs_cannot_be_put_on_a_queue_by_its_label(client: AsyncClient) -> None:
    spec = script("true")
    spec.required_labels["queue/lab"] = "yes"
    with pytest.raises(InvalidArgument):
        await client.create_job(spec)


async def test_the_command_line_submits_lists_and_follows(
    server: ServerProcess, command_line: Callable[[ServerProcess], CommandLine], tmp_path: Path
) -> None:
    runner = command_line(server)
    ours = tmp_path / "job.yaml"
    ours.write_text("steps: ['echo one', {argv: [echo, 'two words']}]\nenvironment: {A: 'x y'}\ntags: {branch: main}\n")
    theirs = tmp_path / "lab.yaml"
    theirs.write_text("test_data:\n  test_cmds: |\n    echo theirs\nfree: 1.5\n")
    code, out, err = await runner("submit", "--queue", "lab", "--follow", str(ours))
    assert (code, out.splitlines()[-3:]) == (0, ["one", "two words", "swept"]), err
    code, out, _ = await runner("submit", "-q", "lab", "--wait", str(theirs))
    job_id = out.split()[0]
    assert code == 0
    code, out, _ = await runner("logs", job_id)
    assert out.splitlines()[-2:] == ["theirs", "swept"]
    code, out, _ = await runner("ps", "--all")
    (row,) = [line for line in out.splitlines() if line.startswith(job_id)]
    assert "testflinger" in row
    code, out, _ = await runner("queues")
    rows = {line.split()[0]: line.split() for line in out.splitlines()[1:]}
    assert rows["lab"][1:3] == ["0", "0"] and rows["lab"][3] != "nobody"
    code, out, _ = await runner("queues", "--json")
    assert {queue["name"] for queue in json.loads(out)} >= {"lab", "other"}
    ours.write_text("steps: [true]\nlimits: {cpus: 1}\n")
    code, _, err = await runner("submit", "--queue", "lab", str(ours))
    assert code == 2 and "limits" in err


async def test_jobs_of_foreign_agents_are_seen_followed_and_cancelled(
    server: ServerProcess, command_line: Callable[[ServerProcess], CommandLine], client: AsyncClient, lab: Lab
) -> None:
    job_id = await lab.submit(queue="foreign")
    await client.queues.pop(["foreign"], agent="foreign-1")
    follower = command_line(server).start("logs", "-f", job_id)
    await lab.http.post(f"/v1/result/{job_id}/output", content=b"from afar\n")
    assert follower.stdout is not None
    assert await asyncio.to_thread(follower.stdout.readline) == b"from afar\n"
    code, out, _ = await command_line(server)("ps")
    assert job_id in out
    code, _, err = await command_line(server)("cancel", job_id)
    assert code == 0, err
    assert (await lab.result(job_id))["job_state"] == "cancelled"
    await lab.http.post(f"/v1/result/{job_id}", json={"job_state": "complete"})
    await asyncio.to_thread(follower.wait, 90)
    assert (await client.get_job(job_id)).state == Job.STATE_CANCELLED


async def test_a_secret_of_its_client_is_a_variable_and_masked(lab: Lab) -> None:
    value = "hush-hush-hush"
    login = await lab.http.post("/v1/oauth2/token", auth=(CLIENT["client_id"], CLIENT["secret"]))
    lab.http.headers["Authorization"] = f"Bearer {login.raise_for_status().json()['access_token']}"
    kept = await lab.http.put("/v1/secrets/maker/ci/token", json={"value": value, "ephemeral": True})
    assert kept.json() == {"expires_at": None}
    test = {"test_cmds": 'printf %s "$TOKEN" | wc -c; echo "is $TOKEN."', "secrets": {"TOKEN": "ci/token"}}
    job_id = await lab.submit("other", test_data=test)
    result = await lab.when(job_id, "complete")
    assert result["test_output"] == f"{len(value)}\nis ***.\n"
    assert result["test_status"] == 0
