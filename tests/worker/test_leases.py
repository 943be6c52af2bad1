"""Self-stop deadlines: what the executor holds is never later than what the last reply allows."""

from __future__ import annotations

import pytest

from runner_service.domain.jobs import JobSpec, Step
from runner_service.worker.attempts import Held, Phase
from runner_service.worker.executors.fake import FakeExecutor
from runner_service.worker.leases import Leases

HOLD = JobSpec(steps=(Step(argv=("fake", "hold")),))


class Watched(FakeExecutor):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float | None, str | None]] = []

    async def set_deadline(self, deadline: float | None, attempt_id: str | None = None) -> None:
        self.told.append((deadline, attempt_id))
        await super().set_deadline(deadline, attempt_id)


@pytest.fixture
async def executor() -> Watched:
    executor = Watched()
    await executor.adopt()
    return executor


async def running(executor: Watched, attempt_id: str, self_stop: float) -> Held:
    await executor.start(attempt_id, 1, HOLD, {})
    return Held(
        attempt_id=attempt_id, fence=1, phase=Phase.STARTED, self_stop=self_stop, shipment=None  # type: ignore[arg-type]
    )  # fmt: skip


def deadlines(executor: Watched) -> dict[str, float | None]:
    machine = executor.machine
    return {
        attempt_id: machine.deadline if attempt.deadline is None else attempt.deadline
        for attempt_id, attempt in machine.attempts.items()
    }


async def test_each_attempt_has_the_deadline_of_its_own_policy(executor: Watched) -> None:
    leases = Leases(executor, step=1.0)
    live = [await running(executor, "wait", 600.0), await running(executor, "retry", 0.0)]
    await leases.renew(130.0, live)
    assert deadlines(executor) == {"wait": 730.0, "retry": 130.0}


async def test_a_deadline_that_moved_a_little_is_not_told_again(executor: Watched) -> None:
    leases = Leases(executor, step=1.0)
    live = [await running(executor, "a", 600.0)]
    for lease_end in (130.0, 130.5, 130.9, 131.2):
        await leases.renew(lease_end, live)
    assert executor.told == [(730.0, None), (731.2, None)]


async def test_a_deadline_that_moved_nearer_is_told_at_once(executor: Watched) -> None:
    leases = Leases(executor, step=1.0)
    live = [await running(executor, "a", 600.0)]
    await leases.renew(130.0, live)
    await leases.renew(120.0, live)
    assert deadlines(executor) == {"a": 720.0}


async def test_a_stricter_job_is_covered_before_it_starts(executor: Watched) -> None:
    leases = Leases(executor, step=1.0)
    wait = await running(executor, "wait", 600.0)
    await leases.renew(130.0, [wait])
    retry = Held(attempt_id="retry", fence=1, phase=Phase.STARTED, starting=True, shipment=None)  # type: ignore[arg-type]
    await leases.renew(130.1, [wait, retry])
    await executor.start("retry", 1, HOLD, {})
    assert deadlines(executor) == {"wait": 730.1, "retry": 130.1}


async def test_a_laxer_job_gets_its_own_when_it_was_accepted(executor: Watched) -> None:
    leases = Leases(executor, step=1.0)
    retry = await running(executor, "retry", 0.0)
    await leases.renew(130.0, [retry])
    wait = await running(executor, "wait", 600.0)
    await leases.cover(wait)
    assert deadlines(executor) == {"retry": 130.0, "wait": 730.0}


async def test_with_nothing_alive_nothing_is_told(executor: Watched) -> None:
    await Leases(executor, step=1.0).renew(130.0, [])
    assert executor.told == []
