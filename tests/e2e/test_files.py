"""Files to the server and back: by the command line, by HTTP with ranges, across a kill of the server."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
from e2e_command_line import CommandLine
from e2e_jobs import wait_for
from e2e_processes import processes_of
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import JobInput
from runner.v1.outcome_pb2 import Outcome

CommandLines = Callable[[ServerProcess], CommandLine]


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def test_a_file_goes_there_and_back(server: ServerProcess, command_line: CommandLines, tmp_path: Path) -> None:
    runner = command_line(server)
    (tmp_path / "in.bin").write_bytes(noise(5_000_000))
    code, out, err = await runner("cp", str(tmp_path / "in.bin"), "artifact:")
    assert (code, err) == (0, "")
    again = await runner("cp", str(tmp_path / "in.bin"), "artifact:")
    assert again == (0, out, "")
    assert await runner("cp", f"artifact:{out.strip()}", str(tmp_path / "out.bin")) == (0, "", "")
    assert (tmp_path / "out.bin").read_bytes() == noise(5_000_000)
    # A copy that was cut goes on; what was damaged meanwhile is noticed.
    part = tmp_path / f"third.bin.{out.strip()}.part"
    part.write_bytes(noise(5_000_000)[:3_000_000])
    assert (await runner("cp", f"artifact:{out.strip()}", str(tmp_path / "third.bin")))[0] == 0
    assert (tmp_path / "third.bin").read_bytes() == noise(5_000_000)
    part.write_bytes(b"not that")
    code, _, err = await runner("cp", f"artifact:{out.strip()}", str(tmp_path / "third.bin"))
    assert code == 1
    assert "damaged" in err
    assert not part.exists()
    assert (await runner("cp", "nowhere", "nothing"))[0] == 2
    code, _, err = await runner("cp", "no-job:", str(tmp_path))
    assert (code, "no-job" in err) == (1, True)


async def test_by_http(http: httpx.AsyncClient) -> None:
    data = noise(700_000)
    reply = await http.post(
        "/api/v2/artifacts", params={"name": "out/a ü.bin", "mediaType": "application/x-noise"}, content=data
    )
    assert reply.status_code == 200, reply.text
    artifact = reply.json()["artifact"]
    assert (int(artifact["size"]), artifact["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    url = f"/api/v2/artifacts/{artifact['artifactId']}/content"
    whole = await http.get(url)
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["content-type"] == "application/x-noise"
    assert whole.headers["etag"] == f'"{artifact["sha256"]}"'
    assert (whole.headers["content-length"], whole.headers["accept-ranges"]) == ("700000", "bytes")
    # A file to keep: a page that somebody uploads is never shown as one of ours.
    assert whole.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20%C3%BC.bin"
    assert (await http.head(url)).headers["content-length"] == "700000"
    part = await http.get(url, params={"offset": "699000", "limit": "100"})
    assert (part.status_code, part.headers["content-length"], part.content) == (200, "100", data[699_000:699_100])
    for asked, start, end in (("0-9", 0, 10), ("699990-", 699_990, 700_000), ("-5", 699_995, 700_000),
                              ("100000-399999", 100_000, 400_000), ("5-99999999", 5, 700_000)):  # fmt: skip
        piece = await http.get(url, headers={"range": f"bytes={asked}"})
        assert (piece.status_code, piece.content) == (206, data[start:end])
        assert piece.headers["content-range"] == f"bytes {start}-{end - 1}/700000"
        assert piece.headers["content-length"] == str(end - start)
    assert (await http.get(url, headers={"range": "lines=1-2"})).status_code == 200
    for outside in (
        {"headers": {"range": "bytes=700000-"}},
        {"headers": {"range": "bytes=-0"}},
        {"params": {"offset": "700001"}},
    ):
        none = await http.get(url, **outside)  # type: ignore[arg-type]
        assert (none.status_code, none.headers["content-range"]) == (416, "bytes */700000")
        assert none.json()["details"][0]["reason"] == "RANGE_OUTSIDE"
        assert none.headers["content-type"] == "application/json"
    corrupt = await http.post("/api/v2/artifacts", params={"name": "a", "sha256": "00" * 32}, content=data)
    assert corrupt.status_code == 400
    assert "ARTIFACT_CORRUPT" in corrupt.text
    assert (await http.delete(f"/api/v2/artifacts/{artifact['artifactId']}")).status_code == 200
    assert (await http.get(url)).status_code == 404


async def test_a_job_gets_files_and_leaves_some(
    server: ServerProcess, command_line: CommandLines, tmp_path: Path
) -> None:
    runner = command_line(server)
    (tmp_path / "run.sh").write_text(
        "#!/bin/sh\nmkdir -p out/sub; sha256sum < data/in.bin > out/sub/sum; echo log > out/log\n"
    )
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "in.bin").write_bytes(noise(2_000_000))
    code, _, err = await runner(
        *("exec", "--json", "--tag", "test=files", "--input", str(tmp_path / "run.sh")),
        *("--input", f"{tmp_path}/in.bin:data/in.bin", "--output", "out", "--output", "*.none", "--", "./run.sh"),
    )
    assert code == 0, err
    listed = json.loads((await runner("ps", "--all", "--json"))[1].splitlines()[0])
    job_id = listed["jobId"] if "jobId" in listed else listed[0]["jobId"]
    assert await runner("cp", f"{job_id}:", str(tmp_path / "got")) == (0, "", "")
    got = {str(path.relative_to(tmp_path / "got")) for path in (tmp_path / "got").rglob("*") if path.is_file()}
    assert got == {"out/sub/sum", "out/log"}
    digest = hashlib.sha256(noise(2_000_000)).hexdigest()
    assert (tmp_path / "got" / "out" / "sub" / "sum").read_text().split()[0] == digest
    assert await runner("cp", f"{job_id}:out/log", "-") == (0, "log\n", "")
    code, _, err = await runner("cp", f"{job_id}:out/none", "-")
    assert (code, "out/log" in err) == (1, True)


async def test_a_failed_job_leaves_its_files_too_and_a_missing_input_is_refused(
    server: ServerProcess, http: httpx.AsyncClient
) -> None:
    async with server.client() as client:
        job = await client.run(["sh", "-c", "echo why > why.log; exit 3"], outputs=["*.log"])
        assert (await client.wait(job.job_id)).outcome.exit_code == 3
        (left,) = await client.artifacts.list(job.job_id)
        assert b"".join([piece async for piece in client.artifacts.download(left)]) == b"why\n"
    spec = {"steps": [{"script": "true"}], "inputs": [{"artifactId": left.artifact_id, "path": "../out"}]}
    assert (await http.post("/api/v2/jobs", json={"spec": spec})).status_code == 400
    spec["inputs"] = [{"artifactId": "none", "path": "x"}]
    reply = await http.post("/api/v2/jobs", json={"spec": spec})
    assert reply.status_code == 400
    assert "upload it first" in reply.text
    spec["inputs"] = [{"artifactId": left.artifact_id, "path": "x"}]
    reply = await http.post("/api/v2/jobs", json={"spec": spec | {"workingDirectory": "/tmp"}})
    assert reply.status_code == 400


async def test_an_input_that_went_away_is_an_infrastructure_error(own_server: ServerProcess) -> None:
    own_server.settings["executor"]["max_concurrent_jobs"] = 1
    own_server.start()
    async with own_server.client() as client:
        artifact = await client.artifacts.upload(io.BytesIO(b"x"), "x")
        blocker = await client.run(["sleep", "1000"])
        job = await client.run(["cat", "x"], inputs=[JobInput(artifact_id=artifact.artifact_id, path="x")])
        await client.artifacts.delete(artifact.artifact_id)
        await client.cancel(blocker.job_id)
        ended = await client.wait(job.job_id)
    assert ended.outcome.kind == Outcome.KIND_INFRASTRUCTURE
    assert ended.outcome.detail == "inputs"


async def test_outputs_outlive_a_worker_that_is_killed(own_server: ServerProcess, tmp_path: Path) -> None:
    own_server.start()
    gate = tmp_path / "gate"
    async with own_server.client() as client:
        text = f"{wait_for(gate)}; head -c 1000000 /dev/zero > big; echo done > done"
        job = await client.run(["sh", "-c", text], outputs=["big", "done"])
        async for event in client.watch(job.job_id):
            if event.kind == "running":
                break
        await until(lambda: bool(processes_of(str(gate))), what="the job's process")
        os.kill(own_server.worker_pid, signal.SIGKILL)
        gate.touch()
        ended = await client.wait(job.job_id)
        assert ended.outcome.exit_code == 0
        left = {artifact.name: artifact for artifact in await client.artifacts.list(job.job_id)}
    assert {name: artifact.size for name, artifact in left.items()} == {"big": 1_000_000, "done": 5}
    assert left["big"].sha256 == hashlib.sha256(bytes(1_000_000)).hexdigest()


class Killing(io.BytesIO):
    """A file that kills the server in the middle of being read, once."""

    def __init__(self, data: bytes, kill: Callable[[], None]) -> None:
        super().__init__(data)
        self.kill: Callable[[], None] | None = kill

    def read(self, size: int | None = -1, /) -> bytes:
        if self.kill is not None and self.tell() > 4_500_000:
            kill, self.kill = self.kill, None
            kill()
        return super().read(size)


async def test_a_server_that_is_killed_in_the_middle_goes_on(own_server: ServerProcess) -> None:
    own_server.start()
    data = noise(6_000_000)

    def restart() -> None:
        own_server.kill()
        own_server.start()

    async with own_server.client() as client:
        artifact = await client.artifacts.upload(Killing(data, restart), "big")
        assert artifact.sha256 == hashlib.sha256(data).hexdigest()
        got = b"".join([piece async for piece in client.artifacts.download(artifact)])
    assert got == data
