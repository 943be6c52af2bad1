"""Two servers on one PostgreSQL and one bucket, each with a runner: one service, whichever of them one asks."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import obstore
import pytest
from e2e_following import STDOUT, Followed, by_grpc
from e2e_jobs import script, wait_for
from e2e_server import ServerProcess
from e2e_until import until

from runner.v1.job_pb2 import Job
from runner_service.blobs import Bucket, S3Blobs
from runner_service.domain.blobs import ORPHAN_SECONDS, new_key
from runner_service.services.sealing import KEY_BYTES

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "blobs"))

from s3_server import NoS3, s3_server
from store_postgres import NoPostgres, postgres

JOBS = 40

pytestmark = pytest.mark.slow  # two servers, a PostgreSQL and a bucket of their own


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    try:
        with s3_server(tmp_path) as server:
            yield server.bucket("s3://blobs/runner")
    except NoS3 as error:
        pytest.skip(str(error))


@pytest.fixture
def servers(bucket: Bucket, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    with ExitStack() as stack:
        try:
            database = stack.enter_context(postgres())
        except NoPostgres as error:
            pytest.skip(str(error))
        key, made = tmp_path / "secrets.key", []
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(KEY_BYTES))
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            server = ServerProcess(tmp_path / name)
            server.settings["store"] = {"url": database.url("postgres")}
            server.settings["blobs"] = asdict(bucket)
            server.settings["security"] = {"secrets_key_file": str(key)}
            stack.callback(server.close)
            made.append(server)
        for server in made:
            server.start()
        yield made


async def test_every_job_runs_once_and_is_seen_by_both(servers: list[ServerProcess], tmp_path: Path) -> None:
    ran, gate = tmp_path / "ran", tmp_path / "gate"
    first, second = servers
    async with first.client() as a, second.client() as b:

        async def one(number: int) -> Job:
            here, there = (a, b) if number % 2 else (b, a)
            job = await here.create_job(script(f"echo {number} >> {ran}; {wait_for(gate)}; echo out-{number}"))
            followed = await by_grpc(there, job.job_id, Followed())
            assert followed.bytes_of(STDOUT) == f"out-{number}\n".encode()
            assert followed.end["complete"] is True
            return await here.wait(job.job_id)

        running = asyncio.gather(*map(one, range(JOBS)))
        # All slots of both are taken.
        await until(lambda: ran.exists() and len(ran.read_text().split()) == 16, what="the start of as many as can")
        gate.touch()
        ended = await running
        assert {job.state for job in ended} == {Job.STATE_SUCCEEDED}
        assert {job.attempts for job in ended} == {1}
        assert sorted(map(int, ran.read_text().split())) == list(range(JOBS))
        assert len({job.runner_id for job in ended}) == 2, "both runners had work to do"
        for client in (a, b):
            assert len([job async for job in client.list_jobs()]) == JOBS


async def test_a_server_that_is_killed_costs_no_job(servers: list[ServerProcess], tmp_path: Path) -> None:
    ran, gate = tmp_path / "ran", tmp_path / "gate"
    first, second = servers
    async with first.client() as a, second.client() as b:
        text = "echo {0} >> {1}; {2}; echo out-{0}"
        made = [await a.create_job(script(text.format(number, ran, wait_for(gate)))) for number in range(16)]
        # All slots of both are taken.
        await until(lambda: ran.exists() and len(ran.read_text().split()) == 16, what="the start of all jobs")
        first.kill()
        gate.touch()
        mine = [(await b.get_job(job.job_id)).runner_id for job in made]
        assert len(set(mine)) == 2
        # The other one goes on alone: with its own jobs, with new ones, and with a cancel of what it does not run.
        assert (await b.run(["true"], wait=60)).state == Job.STATE_SUCCEEDED
        first.start()
        for number, job in enumerate(made):
            followed = await by_grpc(b, job.job_id, Followed())
            assert followed.bytes_of(STDOUT) == f"out-{number}\n".encode()
            assert followed.end["complete"] is True
        ended = [await b.wait(job.job_id) for job in made]
        assert {(job.state, job.attempts) for job in ended} == {(Job.STATE_SUCCEEDED, 1)}
        assert sorted(map(int, ran.read_text().split())) == list(range(16))


async def test_files_and_old_logs_of_one_are_had_from_the_other(servers: list[ServerProcess], bucket: Bucket) -> None:
    first, second = servers
    data = random.Random(1).randbytes(20_000_000)
    async with first.client() as a, second.client() as b:
        artifact = await a.artifacts.upload(io.BytesIO(data), name="file")
        got = b"".join([piece async for piece in b.artifacts.download(await b.artifacts.get(artifact.artifact_id))])
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        # A log that is large enough to leave the database for the bucket.
        job = await a.create_job(script("head -c 3000000 /dev/zero | tr '\\0' x"))
        assert (await a.wait(job.job_id)).state == Job.STATE_SUCCEEDED
        store = S3Blobs(bucket)._store
        await until(lambda: list(obstore.list(store, "logs")), what="the log in the bucket", seconds=60)
        followed = await by_grpc(b, job.job_id, Followed())
        assert followed.bytes_of(STDOUT) == b"x" * 3_000_000
        for server in servers:
            assert not (server.data_dir / "blobs").exists()


async def test_one_never_deletes_what_the_other_is_writing(tmp_path: Path) -> None:
    """What one has stored and not named yet is there for the other, which looks for what belongs to nothing."""
    shared, lost = tmp_path / "shared", tmp_path / "shared" / new_key("checks")  # the kind that is looked at last
    with ExitStack() as stack:
        try:
            database = stack.enter_context(postgres())
        except NoPostgres as error:
            pytest.skip(str(error))
        first, second = [ServerProcess(tmp_path / name) for name in ("a", "b")]
        for server in (first, second):
            server.data_dir.parent.mkdir()
            server.settings |= {"store": {"url": database.url("postgres")}, "blobs": {"url": f"file://{shared}"}}
            stack.callback(server.close)
        second.settings["retention"] = {"sweep_seconds": 0.2}
        first.start("--no-local-runner")
        data = random.Random(2).randbytes(1_000_000)
        async with first.client() as a, second.client() as b, asyncio.timeout(180):
            with database.connect() as connection:
                # The file is there, and its row has to wait.
                connection.execute("LOCK TABLE artifact_parts IN SHARE ROW EXCLUSIVE MODE")
                uploading = asyncio.create_task(a.artifacts.upload(io.BytesIO(data), name="file"))
                await until(lambda: any(path.is_file() for path in shared.rglob("artifacts/??/*")), what="the file")
                lost.parent.mkdir(parents=True)
                lost.write_bytes(b"of a server that has crashed")
                os.utime(lost, (time.time() - 1.5 * ORPHAN_SECONDS,) * 2)
                second.start("--no-local-runner")
                await until(lambda: not lost.exists(), what="the end of what belongs to nothing")
            artifact = await uploading
            got = b"".join([piece async for piece in b.artifacts.download(artifact)])
            assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
