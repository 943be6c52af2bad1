"""A real server is killed with -9 in each commit path outside a job's life, before the commit and behind it.

Whatever the path: before, nothing has happened; behind, all of it has; who repeats the call, because the answer to it
was lost, gets what is promised, and has no second effect. At the end no row points to one that is not there, and no
blob is left that belongs to nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from faults_calls import ANEW, REFUSED, SAME, Client, Row
from faults_house import PATIENCE, processes_with, until
from faults_rows import ROWS, SETTINGS, SWEEPING
from faults_zygote import Child, Crash, Zygote

from runner_service.domain import crashpoints
from runner_service.domain.blobs import ORPHAN_SECONDS
from runner_service.domain.crashpoints import AFTER, BEFORE

_READY = re.compile(r"runner is ready: (\S+) ")
BATCH = 10
POINTS = {
    "image_tags.image_id": "images.image_id",
    "artifact_parts.artifact_id": "artifacts.artifact_id",
    "agents.job_id": "jobs.job_id",
    "attempts.job_id": "jobs.job_id",
    "job_bodies.job_id": "jobs.job_id",
    "job_tags.job_id": "jobs.job_id",
    "queue_jobs.job_id": "jobs.job_id",
    "requests.job_id": "jobs.job_id",
    "runner_profiles.runner_id": "runners.runner_id",
    "runner_tags.runner_id": "runners.runner_id",
    "runner_checks.runner_id": "runners.runner_id",
    "report_sessions.agent_id": "reported_agents.agent_id",
    "agent_reports.agent_id": "reported_agents.agent_id",
    "lab_files.job_id": "lab_records.job_id",
    "lab_output.job_id": "lab_records.job_id",
    "lab_readers.job_id": "lab_records.job_id",
    "lab_provision_logs.agent": "lab_agents.name",
}
"""Columns that point to a row, and where that is found."""

ELSEWHERE = ("worker_credentials.confirm", "worker_credentials.renew")
"""Only workers call these: `test_credentials_follow` kills about them."""


class Site:
    """A data directory, and the server on it while there is one."""

    def __init__(self, directory: Path, zygote: Zygote) -> None:
        self.directory = directory
        self.data = directory / "data"
        self._zygote = zygote
        self.child: Child | None = None
        self.base = ""
        self._has_worker = False

    async def start(self, row: Row | None = None, *, crash: str = "", later: float = 0.0) -> None:
        """Returns when it is ready, or has died of its crash point."""
        settings: dict[str, Any] = {**SETTINGS, **(row.more if row is not None else {})}
        config, output = self.directory / "config.yaml", self.directory / "output"
        config.write_text(yaml.safe_dump(settings))
        output.unlink(missing_ok=True)
        with_worker = row is not None and row.with_worker
        self._has_worker |= with_worker
        self.child = child = self._zygote.fork(
            "serve", "--config", str(config), "--data-dir", str(self.data), "--http", "127.0.0.1:0",
            "--grpc", "127.0.0.1:0", "--log-file", str(self.directory / "errors"),
            *([] if with_worker else ["--no-local-runner"]),
            output=output, crash=Crash(crash) if crash else None, later=later,
        )  # fmt: skip
        await until(lambda: not child.alive or "ready" in self._said(output), what="the server")
        found = _READY.search(self._said(output))
        self.base = found[1] if found else ""

    def _said(self, output: Path) -> str:
        return output.read_text() if output.exists() else ""

    async def stop(self) -> None:
        assert self.child is not None
        self.child.signal(signal.SIGTERM)
        await self.child.ended(PATIENCE)

    async def end_worker(self) -> None:
        """It outlives the servers, and goes with one that is stopped."""
        if self._has_worker:
            await self.stop()
            await self.start(Row("", None, (), with_worker=True))
            self._has_worker = False
            await self.stop()
            await self.start()

    def rows(self, tables: tuple[str, ...]) -> dict[str, list[Any]]:
        connection = sqlite3.connect(self.data / "runner.db")
        try:
            found = {}
            for name in tables:
                table, _, column = name.partition(".")
                found[name] = sorted(map(repr, connection.execute(f"SELECT {column or '*'} FROM {table}")))
            return found
        finally:
            connection.close()

    def dangling(self) -> list[str]:
        """Rows that point to one that is not there."""
        connection = sqlite3.connect(self.data / "runner.db")
        found = []
        try:
            for place, target in POINTS.items():
                (table, column), (owners, key) = place.split("."), target.split(".")
                query = f"SELECT {column} FROM {table} WHERE {column} NOT IN (SELECT {key} FROM {owners})"
                found += [f"{place} {value}" for (value,) in connection.execute(query) if value]
        finally:
            connection.close()
        return found

    def blobs(self) -> set[str]:
        root = self.data / "blobs"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    def named_blobs(self) -> set[str]:
        connection = sqlite3.connect(self.data / "runner.db")
        try:
            return {
                key
                for table in ("artifact_parts", "lab_files", "images", "log_archives")
                for (key,) in connection.execute(f"SELECT blob_key FROM {table} WHERE blob_key <> ''")
            }
        finally:
            connection.close()


@pytest.fixture
async def site(tmp_path: Path, zygote: Zygote) -> AsyncIterator[Site]:
    made = Site(tmp_path, zygote)
    yield made
    await made.end_worker()
    await made.stop()
    assert processes_with(str(tmp_path)) == []


def test_every_other_commit_path_has_a_row() -> None:
    assert sorted([*(row.path for row in ROWS), *ELSEWHERE]) == sorted(crashpoints.OTHER_COMMITS)


@asynccontextmanager
async def _crashing(site: Site, row: Row, client: Client, when: str) -> AsyncIterator[None]:
    """Has the server killed at a point of the path, as it takes it; the one that follows is as all others."""
    point = f"{row.path}.{when}"
    assert site.child is not None
    goes_on = row.goes_on and when == AFTER
    if row.later or row.at_start or row.more or row.with_worker or goes_on:
        await site.stop()
        await site.start(row, crash=point, later=row.later)
    else:
        site.child.arm(point)
    if row.call is not None and not goes_on:
        with pytest.raises(httpx.HTTPError):
            # It may be written behind the answer, and what a worker has to do for it may come later.
            async with asyncio.timeout(PATIENCE):
                while True:
                    (await client.make(row.call)).raise_for_status()
                    with suppress(TimeoutError):
                        await site.child.ended(0.1 if row.with_worker else PATIENCE)
    try:
        await site.child.ended(PATIENCE)
    except TimeoutError:
        raise AssertionError(f"{point} was not passed") from None
    yield
    if not (row.goes_on and when == BEFORE):
        await site.start()


async def _seen(row: Row, client: Client) -> str:
    if row.see is None:
        return ""
    answer = await client.make(row.see)
    return f"{answer.status_code} {answer.text}"


async def _age(site: Site, row: Row) -> None:
    seconds, table = row.aged
    before = site.rows((table,))
    await site.stop()
    await site.start(row, later=seconds)
    await until(lambda: site.rows((table,)) != before, what=f"what is done about the age in {table}")
    await site.stop()
    await site.start()


async def _cross(site: Site, row: Row) -> None:
    client = Client(lambda: site.base)
    await client.prepare(row)
    if row.aged[0]:
        await _age(site, row)
    before, seen = site.rows(row.tables), await _seen(row, client)
    halfway = {table: sorted([*found, *row.halfway]) for table, found in before.items()}
    async with _crashing(site, row, client, BEFORE):
        assert site.rows(row.tables) == halfway, f"{row.path}: a part of it was committed"
    assert row.goes_on or await _seen(row, client) == seen, f"{row.path}: something of it is shown"
    async with _crashing(site, row, client, AFTER):
        after = site.rows(row.tables)
        assert all(after[table] != halfway[table] for table in row.tables), f"{row.path} has not happened whole"
    if row.see is not None:
        assert await _seen(row, client) != seen, f"{row.path}: it is not shown"
    if row.call is not None:
        await _repeat(site, row, client)
    assert site.dangling() == []
    await site.end_worker()


async def _repeat(site: Site, row: Row, client: Client) -> None:
    assert row.call is not None
    after = site.rows(row.tables)
    first, second = [await client.make(row.call) for _ in range(2)]
    for answer in (first, second):
        assert (answer.status_code >= 400) is (row.repeated is REFUSED), f"{row.path}: {answer.text}"
        assert answer.status_code < 500
    if row.repeated is SAME:
        assert first.text == second.text
    if row.repeated is not ANEW:
        assert site.rows(row.tables) == after, f"{row.path} has happened twice"


CROSSED = [row for row in ROWS if not row.takes_long or os.environ.get("FAULT_CALLS") == "all"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, len(CROSSED), BATCH), ids=lambda first: CROSSED[first].path)
async def test_a_server_that_is_killed_about_a_commit_has_done_it_or_not(site: Site, first: int) -> None:
    """From that row on, a batch."""
    await site.start()
    for row in CROSSED[first : first + BATCH]:
        await _cross(site, row)
    # What was left without a row by all these crashes goes, and nothing else.
    await site.stop()
    old = time.time() - 2 * ORPHAN_SECONDS
    for key in site.blobs():
        os.utime(site.data / "blobs" / key, (old, old))
    named = site.named_blobs()
    await site.start(Row("", None, (), more=SWEEPING))
    await until(lambda: site.blobs() == named, what="the end of the blobs that belong to nothing")
