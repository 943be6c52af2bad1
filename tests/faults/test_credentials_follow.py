"""A worker is given another credential: kill -9 at each step, a reply that is lost, an absence that was too long."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from faults_house import PATIENCE, House, Machine, until
from faults_zygote import Crash, Zygote

from runner.v1.job_pb2 import Job, JobSpec, Step

DAY = 86_400_000_000


@pytest.fixture
async def house(tmp_path: Path, zygote: Zygote) -> AsyncIterator[House]:
    made = House(tmp_path, zygote, machines=1)
    made.settings["dispatch"] = {"park_busy_seconds": 0.5}
    await made.start()
    yield made
    sys.stderr.write(made.errors[-20_000:])
    await made.close()


class Facts:
    """What the store and the worker have of the credentials of the only runner."""

    def __init__(self, house: House) -> None:
        self._database = house.seats[0].data / "runner.db"
        self._identity = house.machines[0].directory / "worker" / "identity"

    def end_at(self, micros: int) -> None:
        """Time passes: they all end then."""
        with closing(sqlite3.connect(self._database)) as connection, connection:
            connection.execute("UPDATE worker_credentials SET expires_at = ?", (micros,))

    @property
    def newest(self) -> tuple[int, bool]:
        """Its number, and whether its worker has shown it."""
        with closing(sqlite3.connect(self._database, timeout=30)) as connection:
            number, nonce = connection.execute(
                "SELECT number, nonce FROM worker_credentials ORDER BY number DESC LIMIT 1"
            ).fetchone()
        return number, not nonce

    @property
    def kept(self) -> str:
        return str(json.loads(self._identity.read_text())["credential"])


@pytest.mark.slow
async def test_whoever_dies_while_a_credential_changes_hands_the_job_runs_on_once(house: House, tmp_path: Path) -> None:
    machine, seat, facts = house.machines[0], house.seats[0], Facts(house)
    ran, go = tmp_path / "ran", tmp_path / "go"

    async def both_away(ends_at: int, *, worker: str = "", server: str = "") -> None:
        """Kills both, lets time pass, and starts them with a crash point in one of them; returns when that one died."""
        for at in (machine, seat):
            child = at.worker if isinstance(at, Machine) else at.child
            assert child is not None
            if isinstance(at, Machine):
                at.worker = None  # So that nobody starts another one meanwhile.
            else:
                at.child = None
            child.signal(signal.SIGKILL)
            await child.ended(PATIENCE)
        facts.end_at(ends_at)
        machine.crash, seat.crash = Crash(worker) if worker else None, Crash(server) if server else None
        await house.start_server()
        armed = seat.child if server else None
        house.start_worker(machine)
        armed = machine.worker if worker else armed
        if armed is not None:
            await armed.ended(PATIENCE)

    text = f"echo {ran.name} >> {ran}; until [ -e {go} ]; do sleep 0.05; done; echo done"
    async with house.client() as client:
        job = await client.create_job(JobSpec(steps=[Step(script=text)]))
        await until(ran.exists, what="the job")
        known = [facts.kept]
        faults = (
            {"worker": "worker.given_credential"},
            {"worker": "worker.kept_credential"},
            {"server": "worker_credentials.renew.before_commit"},
            {"server": "worker_credentials.renew.after_commit"},
            {"server": "worker_credentials.confirm.before_commit"},
            {"server": "worker_credentials.confirm.after_commit"},
        )
        for number, fault in enumerate(faults, start=2):
            await both_away(time.time_ns() // 1000 + DAY // 4, **fault)
            await until(lambda number=number: facts.newest == (number, True), what=f"credential {number} ({fault})")
            known.append(facts.kept)
        assert len(set(known)) == len(known)
        again = "Joined again"
        assert again not in house.errors, "it was without a good one"
        # It stays away until all is over, and has nothing but what has expired.
        await both_away(1)
        await until(lambda: facts.newest == (len(faults) + 2, True), what="the worker that joins again")
        assert house.errors.count(again) == 1
        go.touch()
        done = await client.wait(job.job_id)
        output = b"".join([record.data async for message in client.follow(job.job_id) for record in message.records])
    assert (done.state, done.attempts) == (Job.STATE_SUCCEEDED, 1)
    assert ran.read_text().split() == [ran.name]
    assert output == b"done\n"
