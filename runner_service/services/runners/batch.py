"""One operation on many runners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runner_service.domain.errors import InvalidArgument, RunnerError
from runner_service.domain.runner_config import RunnerConfig, merged
from runner_service.ports.store import AnswerStore, Mark, RunnerFilter
from runner_service.services.runners.control import RunnerControl
from runner_service.services.runners.registry import Runners


class Operation(StrEnum):
    """What can be done to many runners."""

    UPDATE_CONFIG = "update_config"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """For UPDATE_CONFIG."""
    graceful: bool = False
    timeout: float | None = None
    reason: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of one runner."""

    runner_id: str
    error: RunnerError | None = None


class RunnerBatch:
    """Does one thing to every runner that a filter finds."""

    def __init__(self, *, runners: Runners, control: RunnerControl, answers: AnswerStore) -> None:
        self._runners = runners
        self._control = control
        self._answers = answers

    async def operate(
        self,
        operation: Operation,
        filter: RunnerFilter,
        options: Options,
        *,
        by: str = "",
        mark: Mark | None = None,
    ) -> Sequence[BatchResult]:
        """One result per runner, in order of registration; what fails for one leaves the others alone. With a
        ``mark`` it is about the runners that the filter found when it was first asked, whatever it finds now, and each
        of them is told once.

        Raises:
            InvalidArgument: The changes can be those of no runner.
            AlreadyExists: The mark is another request's.
        """
        if operation is Operation.UPDATE_CONFIG:
            if not options.changes:
                raise InvalidArgument(field="data", problem="say what to change")
            merged(RunnerConfig(), options.changes)
        found = [runner.runner_id for runner in (await self._runners.find(filter, limit=0)).runners]
        if mark is not None:
            found = (await self._answers.begin(mark, " ".join(found))).split()
        results = []
        for runner_id in found:
            part = mark and mark.part(runner_id)
            try:
                # What was done to it before it was deleted counts as done.
                if part is None or await self._answers.find(part.key) is None:
                    await self._one(operation, runner_id, options, by, part)
            except RunnerError as error:
                results.append(BatchResult(runner_id=runner_id, error=error))
            else:
                results.append(BatchResult(runner_id=runner_id))
        return results

    async def _one(self, operation: Operation, runner_id: str, options: Options, by: str, mark: Mark | None) -> None:
        match operation:
            case Operation.UPDATE_CONFIG:
                await self._runners.update_config(runner_id, options.changes, mark=mark)
            case Operation.START:
                await self._control.start(runner_id, reason=options.reason, mark=mark)
            case Operation.STOP:
                # Without waiting: the last would be told when the first have stopped.
                seconds = (options.timeout or 300.0) if options.graceful else 0.0
                await self._control.drain(runner_id, timeout=seconds, reason=options.reason, mark=mark)
            case Operation.RESTART:
                await self._control.restart(
                    runner_id, graceful=options.graceful, timeout=options.timeout, reason=options.reason, mark=mark
                )
            case Operation.DELETE:
                await self._runners.delete(runner_id, force=options.force, by=by, mark=mark)
