"""Whatever becomes of an attempt that is lost, or of one that is tried again: its job says why, in every view of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from services_house import House, Worker

from runner.v1 import job_service_pb2 as pb
from runner.v1.job_pb2 import Attempt, Job, JobEvent
from runner.v1.outcome_pb2 import Outcome as Told
from runner_client.cli.outcomes import explanation, summary
from runner_service.domain.dispatch import Verdict
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import LossPolicy
from runner_service.domain.outcomes import Outcome, OutcomeKind, TimeBudget
from runner_service.rpc.jobs import JobServicer
from runner_service.services.waiting import Waiting

ROOT = Path(__file__).parents[2]


async def _runner_stays_away(house: House, worker: Worker, attempt_id: str) -> None:
    house.clock.advance(30 + 600 + 10)
    assert len(await house.store.dispatch.expire_leases(kill_budget_seconds=10)) == 1


async def _runner_comes_back_without_it(house: House, worker: Worker, attempt_id: str) -> None:
    worker.held.clear()
    await worker.house.store.dispatch.beat(worker.beat())


def _runner_reports(**facts: object) -> Callable[[House, Worker, str], Awaitable[None]]:
    """What supervisors say; that they do so for cause, their tests have."""

    async def report(house: House, worker: Worker, attempt_id: str) -> None:
        outcome = Outcome(**facts)  # type: ignore[arg-type]
        assert await worker.report(attempt_id, outcome) is Verdict.ACCEPTED

    return report


LOST = {
    "lease_expired": (_runner_stays_away, "its runner was not heard of for too long"),
    "runner_forgot": (_runner_comes_back_without_it, "its runner came back without it"),
    **{
        detail: (_runner_reports(kind=OutcomeKind.LOST, detail=detail), words)
        for detail, words in (
            ("self_stop", "its runner lost the server and stopped it"),
            ("supervisor_died", "the supervisor on its runner died"),
            ("machine_rebooted", "its machine was restarted"),
        )
    },
}


class View:
    """What a user is told of a job."""

    def __init__(self, house: House) -> None:
        waiting = Waiting(jobs=house.store.jobs, runners=house.store.runners, clock=house.clock)
        self._servicer = JobServicer(house.jobs, house.inputs, waiting)

    async def job(self, job_id: str) -> Job:
        return (await self._servicer.GetJob(pb.GetJobRequest(job_id=job_id), None)).job

    async def attempts(self, job_id: str) -> list[Attempt]:
        return list((await self._servicer.ListAttempts(pb.ListAttemptsRequest(job_id=job_id), None)).attempts)

    async def event(self, job_id: str, kind: str) -> JobEvent:
        async for said in self._servicer.WatchJobs(pb.WatchJobsRequest(job_id=job_id), None):
            if said.event.kind == kind:
                return said.event
        raise AssertionError(f"no event {kind}")


@pytest.fixture
def view(house: House) -> View:
    return View(house)


async def test_a_lost_job_says_why(house: House, view: View) -> None:
    for detail, (lose, sentence) in LOST.items():
        worker, asked = await house.worker(), await house.job(loss_wait_seconds=600)
        await lose(house, worker, await worker.start())
        job = await view.job(asked.job_id)
        assert (job.state, job.outcome.kind, job.outcome.detail) == (Job.STATE_LOST, Told.KIND_LOST, detail)
        assert explanation(job.state, job.outcome) == f"nobody knows how it ended: {sentence}"
        assert summary(job.state, job.outcome) == detail.replace("_", " ")
        (attempt,) = await view.attempts(asked.job_id)
        assert attempt.outcome == job.outcome
        assert (await view.event(asked.job_id, "finished")).detail == f"LOST {detail}"


async def test_a_job_that_is_run_again_after_a_loss_says_why(house: House, view: View) -> None:
    for detail, (lose, _) in LOST.items():
        asked = await house.job(
            idempotent=True, loss_policy=LossPolicy.RETRY, max_attempts=2, required_labels={"for": detail}
        )
        worker = await house.worker(**{"for": detail})
        await lose(house, worker, await worker.start())
        await _is_queued_again(view, asked.job_id, f"lost {detail}", f"LOST {detail}")


AGAIN = (
    (Outcome(kind=OutcomeKind.EXITED, exit_code=7), "exit code 7", "EXITED"),
    (Outcome(kind=OutcomeKind.SIGNALED, signal=9), "signal 9", "SIGNALED"),
    (Outcome(kind=OutcomeKind.OUT_OF_MEMORY), "out_of_memory", "OUT_OF_MEMORY"),
    (Outcome(kind=OutcomeKind.OUT_OF_DISK), "out_of_disk", "OUT_OF_DISK"),
    (Outcome(kind=OutcomeKind.TIMED_OUT, detail=TimeBudget.RUN), "timed_out run", "TIMED_OUT run"),
    (Outcome(kind=OutcomeKind.INFRASTRUCTURE, detail="start"), "infrastructure start", "INFRASTRUCTURE start"),
)


async def test_a_job_that_is_tried_again_says_why(house: House, view: View) -> None:
    for number, (outcome, waits, event) in enumerate(AGAIN):
        labels = {"for": str(number)}
        worker, asked = await house.worker(**labels), await house.job(max_attempts=2, required_labels=labels)
        await worker.finish(await worker.start(), outcome)
        await _is_queued_again(view, asked.job_id, waits, event)


async def _is_queued_again(view: View, job_id: str, waits: str, event: str) -> None:
    job = await view.job(job_id)
    assert (job.state, job.attempts) == (Job.STATE_QUEUED, 1)
    assert job.waiting.startswith(f"the last attempt ended with {waits}; ")
    (attempt,) = await view.attempts(job_id)
    assert attempt.outcome.kind
    assert (await view.event(job_id, "requeued")).detail == event


async def _nobody_takes_it(house: House, worker: Worker) -> None:
    house.clock.advance(20)
    assert len(await house.store.dispatch.release_unconfirmed(older_than_seconds=15)) == 1


async def _runner_is_drained(house: House, worker: Worker) -> None:
    await house.runners.control.drain(worker.runner.runner_id)


async def _worker_takes_no_more(house: House, worker: Worker) -> None:
    worker.held.clear()  # The answer with the offer was lost.
    await house.store.dispatch.beat(replace(worker.beat(), slots=0))


async def _worker_is_restarted(house: House, worker: Worker) -> None:
    await worker.sync()
    worker.session_id, worker.number = new_id(), 0
    worker.held.clear()
    await house.store.dispatch.beat(worker.beat())


GIVEN_BACK = (
    (_nobody_takes_it, "unconfirmed"),
    (_runner_is_drained, "drained"),
    (_worker_takes_no_more, "drained"),
    (_worker_is_restarted, "never_started"),
)


async def test_a_job_that_was_given_out_and_not_started_says_why(house: House, view: View) -> None:
    for number, (happens, why) in enumerate(GIVEN_BACK):
        labels = {"for": str(number)}
        worker, asked = await house.worker(**labels), await house.job(required_labels=labels)
        await worker.sync()
        await happens(house, worker)
        job = await view.job(asked.job_id)
        assert (job.state, job.attempts, await view.attempts(asked.job_id)) == (Job.STATE_QUEUED, 0, [])
        assert (await view.event(asked.job_id, "requeued")).detail == why


def test_every_reason_of_the_product_is_one_of_the_table() -> None:
    """Also those that only some executor gives; `stale` is of what the server has given up, and takes no report of."""
    given = set()
    for path in (ROOT / "runner_service").rglob("*.py"):
        text = path.read_text()
        for made in re.findall(r"(?:OutcomeKind\.LOST|\"LOST\"), detail=([^,)]+(?: else \"\w+\")?)", text):
            given |= set(re.findall(r'"(\w+)"', made))
    assert given - {"stale"} == LOST.keys()
    contract = (ROOT / "proto" / "runner" / "v1" / "outcome.proto").read_text()
    (said,) = re.findall(r"// Nobody knows how it ended\. (.*?)KIND_LOST", contract, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", said)) - {"detail"} == LOST.keys()
