"""Why a queued job waits, in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from runner_service.domain.jobs import Job, JobKind, JobSpec, JobState, Step
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.runners import Runner, RunnerState
from runner_service.domain.waiting import Place, WaitingReason, why_again, why_it_waits

NOW = 1_000_000_000


def _job(labels: dict[str, str] | None = None, **fields: Any) -> Job:
    spec = JobSpec(steps=(Step(argv=("x",)),), max_attempts=3, required_labels=labels or {})
    return Job(job_id="j", kind=JobKind.JOB, spec=spec, state=JobState.QUEUED, created_at=0, **fields)


def _place(name: str = "one", *, active: int = 0, **fields: Any) -> Place:
    values: dict[str, Any] = {
        "runner_id": f"id-{name}",
        "name": name,
        "state": RunnerState.ACTIVE,
        "registered_at": 0,
        "labels": {"os": "linux"},
        "slots": 2,
        "lease_until": NOW + 1,
    }
    return Place(runner=Runner(**{**values, **fields}), active=active)


@pytest.mark.parametrize(
    ("job", "places", "position", "why"),
    [
        (_job(not_before=NOW + 7_000_000, attempts=1), [], 0, "waits 7 s more before attempt 2 of 3"),
        (_job(not_before=2**62), [_place()], 0, "the files that it names as attachments have not been uploaded"),
        (_job(), [], 0, "no runner is registered"),
        (
            _job({"gpu": "yes", "os": "linux"}),
            [_place("bare", labels={}), _place("one")],
            4,
            "no runner has the labels that it requires: one lacks gpu=yes",
        ),
        (
            _job({"docker": "yes", "os": "linux"}),
            [_place("bare", labels={}), _place("one")],
            0,
            "no runner that fits has a Docker engine that answers: one lacks docker=yes",
        ),
        (_job({"runner_id": "gone"}), [_place()], 0, "the runner that it was submitted to does not exist any more"),
        (_job(), [_place(lease_until=NOW)], 0, "of the runners that fit none is heard of: one"),
        (
            _job(),
            [_place("a", state=RunnerState.STOPPING), _place("b", state=RunnerState.INACTIVE), _place("c", slots=0)],
            0,
            "the runners that fit take no work now: a is draining, b is stopped, c is draining",
        ),
        (_job(), [_place(active=2)], 0, "all 2 slots of the runners that fit are taken: one"),
        (
            _job(),
            [_place(str(number), active=2) for number in range(5)],
            9,
            "all 10 slots of the runners that fit are taken: 0, 1, 2 and 2 more; 9 jobs stand before it",
        ),
        (_job(), [_place(active=2), _place("two", active=1)], 0, "it is next: a runner with room fits"),
        (_job({"runner_id": "id-two"}), [_place(active=2), _place("two")], 0, "it is next: a runner with room fits"),
    ],
)
def test_the_first_reason_is_told(job: Job, places: list[Place], position: int, why: str) -> None:
    found = why_it_waits(job, places, position=position, now=NOW)
    assert found.sentence.startswith(why)
    assert found.reason is next(reason for start, reason in REASONS.items() if why.startswith(start))


REASONS = {
    "waits": WaitingReason.RETRY_DELAY,
    "the files": WaitingReason.ATTACHMENTS,
    "no runner is registered": WaitingReason.NO_RUNNER,
    "no runner": WaitingReason.LABELS,
    "the runner that it was submitted to": WaitingReason.LABELS,
    "of the runners": WaitingReason.RUNNERS_AWAY,
    "the runners that fit": WaitingReason.RUNNERS_CLOSED,
    "all": WaitingReason.NO_ROOM,
    "it is next": WaitingReason.NEXT,
}
"""The first that a sentence begins with."""


def test_every_reason_is_one_of_the_table() -> None:
    assert set(REASONS.values()) == set(WaitingReason)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (None, ""),
        (Outcome(kind=OutcomeKind.EXITED, exit_code=7), "the last attempt ended with exit code 7"),
        (Outcome(kind=OutcomeKind.SIGNALED, signal=9), "the last attempt ended with signal 9"),
        (Outcome(kind=OutcomeKind.TIMED_OUT, detail="idle"), "the last attempt ended with timed_out idle"),
        (Outcome(kind=OutcomeKind.LOST, detail="lease_expired"), "the last attempt ended with lost lease_expired"),
    ],
)
def test_a_retry_says_what_it_is_for(outcome: Outcome | None, words: str) -> None:
    assert why_again(outcome) == words
