"""What is tried again, and what must not be, when an executor goes away while it is asked to start an attempt."""

from __future__ import annotations

from typing import Any, cast

from runner_service.domain.jobs import JobSpec, Step
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.worker.attempts import Held, Phase
from runner_service.worker.executors.base import Executor, ExecutorUnavailable
from runner_service.worker.files import Files
from runner_service.worker.starts import Starts

LOST = Outcome(kind=OutcomeKind.LOST, detail="supervisor_died")


class Dying:
    """An executor that dies at the first start, and is back at once; by then the attempt may have ended."""

    def __init__(self, held: Held, *, had_taken_it: bool) -> None:
        self.asked = 0
        self._held = held
        self._had_taken_it = had_taken_it

    async def adopt(self) -> None:
        if self._had_taken_it:
            self._held.phase, self._held.outcome = Phase.ENDED, LOST

    async def start(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        if self.asked == 1:
            raise ExecutorUnavailable("the supervisor died")


def held() -> Held:
    spec = JobSpec(steps=(Step(argv=("true",)),))
    return Held(attempt_id="one", fence=1, phase=Phase.STARTED, shipment=cast(Any, None), spec=spec)


async def test_what_had_begun_when_the_executor_died_is_not_started_again() -> None:
    one = held()
    executor = Dying(one, had_taken_it=True)
    assert await Starts(cast(Executor, executor), cast(Files, None)).start(one) == LOST
    assert executor.asked == 1


async def test_what_had_not_begun_when_the_executor_died_is_started_by_the_next() -> None:
    one = held()
    executor = Dying(one, had_taken_it=False)
    assert await Starts(cast(Executor, executor), cast(Files, None)).start(one) is None
    assert executor.asked == 2
