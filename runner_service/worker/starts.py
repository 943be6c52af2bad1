"""From the order to run to a process, and from the last process to a report: what an attempt needs before and after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner_service.domain.jobs import JobInput
from runner_service.domain.outcomes import Outcome, OutcomeKind, RefusedReason, TimeBudget
from runner_service.worker.attempts import Held, Phase
from runner_service.worker.executors.base import Executor, ExecutorUnavailable, FenceMismatch, KillCause
from runner_service.worker.files import Files, FilesFailed, Unwanted

log = logging.getLogger(__name__)

_START_PAUSES = (0.0, 0.1, 0.5, 2.0)
"""Before each try to start an attempt, in seconds; between them the executor is asked to come back."""


class Starts:
    """Gets attempts under way, and their files in and out. Changes no phase: that is for the orders."""

    def __init__(self, executor: Executor, files: Files) -> None:
        self._executor = executor
        self._files = files

    async def start(self, held: Held) -> Outcome | None:
        """Has the executor accept the attempt; the outcome when it ends by not being started."""
        if held.phase is Phase.ENDING:
            return never_ran(held.kill)
        assert held.spec is not None
        if missing := sorted(held.spec.secrets.keys() - held.secrets.keys()):
            message = (
                f"no secret for {', '.join(missing)}: it was deleted, or the connection to the server is not encrypted"
            )
            return Outcome(kind=OutcomeKind.REFUSED, detail=RefusedReason.SECRET_MISSING, message=message)
        held.outputs = held.spec.outputs
        if held.spec.inputs and (outcome := await self._fetch(held, held.spec.inputs)) is not None:
            return outcome
        problem: Exception | None = None
        for seconds in _START_PAUSES:
            try:
                if seconds:
                    await asyncio.sleep(seconds)
                    await self._executor.adopt()
                if held.phase is Phase.ENDED:
                    # A supervisor that died had taken it after all, and the next one has said so. By now it may have
                    # been told to forget it: to start it again would run it twice.
                    return held.outcome
                await self._executor.start(
                    held.attempt_id, held.fence, held.spec, held.environment, secrets=held.secrets
                )
                return None
            except ExecutorUnavailable as error:
                problem = error
            except FenceMismatch as error:
                problem = error
                break
        log.error("%s", problem, extra={"action": "start_failed", "attempt_id": held.attempt_id})
        return Outcome(kind=OutcomeKind.INFRASTRUCTURE, detail="start", message=str(problem))

    async def _fetch(self, held: Held, inputs: Sequence[JobInput]) -> Outcome | None:
        def wanted() -> bool:
            return held.phase is Phase.STARTED

        try:
            directory = Path(await self._executor.prepare(held.attempt_id))
            await self._files.fetch(held.attempt_id, held.fence, inputs, directory, wanted=wanted)
        except Unwanted:
            return never_ran(held.kill)
        except (FilesFailed, OSError) as error:
            return Outcome(kind=OutcomeKind.INFRASTRUCTURE, detail="inputs", message=str(error))
        return None

    async def keep_outputs(self, held: Held, directory: str, patterns: Sequence[str]) -> bool:
        """Keeps the files that an ended attempt left, before its end is reported: then the server takes nothing of it
        any more. One that succeeded but for this has not. False: the attempt is not this worker's any more."""
        try:
            await self._files.keep(held.attempt_id, held.fence, Path(directory), patterns)
        except Unwanted:
            return False
        except FilesFailed as error:
            log.error("%s", error, extra={"action": "outputs_lost", "attempt_id": held.attempt_id})
            if held.outcome is not None and held.outcome.succeeded:
                held.outcome = replace(
                    held.outcome, kind=OutcomeKind.INFRASTRUCTURE, exit_code=None, detail="outputs", message=str(error)
                )
        return True


def never_ran(kill: tuple[KillCause, str] | None) -> Outcome:
    """The outcome of what was ended before it had a process."""
    cause, detail = kill or (KillCause.STALE, "")
    if cause is KillCause.START_TIMEOUT:
        return Outcome(kind=OutcomeKind.TIMED_OUT, detail=TimeBudget.START, message=detail)
    detail = detail or ("user" if cause is KillCause.CANCEL else cause.value)
    return Outcome(kind=OutcomeKind.CANCELLED, detail=detail)
