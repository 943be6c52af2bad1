"""Which outcome is followed by another attempt."""

from __future__ import annotations

from typing import Any

import pytest

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import (
    Cancel,
    Job,
    JobKind,
    JobSpec,
    JobState,
    LossPolicy,
    RetryRule,
    Step,
    may_retry,
)
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.requests import JobDefaults, NewJob, make_spec

EXITED, SIGNALED, TIMED_OUT = OutcomeKind.EXITED, OutcomeKind.SIGNALED, OutcomeKind.TIMED_OUT


def _job(*rules: RetryRule, **fields: Any) -> Job:
    spec = JobSpec(steps=(Step(argv=("x",)),), max_attempts=3, retry_rules=rules, **fields.pop("spec", {}))
    values: dict[str, Any] = {
        "job_id": "j",
        "kind": JobKind.JOB,
        "state": JobState.RUNNING,
        "created_at": 0,
        "attempts": 1,
    }
    return Job(spec=spec, **{**values, **fields})


@pytest.mark.parametrize(
    ("rule", "outcome", "again"),
    [
        (RetryRule(kind=EXITED), Outcome(kind=EXITED, exit_code=1), True),
        (RetryRule(kind=EXITED), Outcome(kind=EXITED, exit_code=0), False),  # success is never repeated
        (RetryRule(kind=EXITED, exit_codes=(75,)), Outcome(kind=EXITED, exit_code=75), True),
        (RetryRule(kind=EXITED, exit_codes=(75,)), Outcome(kind=EXITED, exit_code=1), False),
        (RetryRule(kind=EXITED, exit_codes=(0,)), Outcome(kind=EXITED, exit_code=0), False),
        (RetryRule(kind=SIGNALED), Outcome(kind=SIGNALED, signal=9), True),
        (RetryRule(kind=SIGNALED, signals=(11,)), Outcome(kind=SIGNALED, signal=9), False),
        (RetryRule(kind=TIMED_OUT, details=("idle", "start")), Outcome(kind=TIMED_OUT, detail="idle"), True),
        (RetryRule(kind=TIMED_OUT, details=("idle", "start")), Outcome(kind=TIMED_OUT, detail="run"), False),
        (RetryRule(kind=OutcomeKind.REFUSED), Outcome(kind=OutcomeKind.REFUSED), True),  # asked for, so it is done
        (RetryRule(kind=OutcomeKind.LOST), Outcome(kind=OutcomeKind.LOST), False),  # not declared idempotent
    ],
)
def test_rules_decide(rule: RetryRule, outcome: Outcome, again: bool) -> None:
    assert may_retry(_job(rule), outcome) is again
    other = RetryRule(kind=OutcomeKind.OUT_OF_MEMORY)
    assert may_retry(_job(other, rule), outcome) is again  # one that matches is enough
    assert not may_retry(_job(rule, attempts=3), outcome)
    assert not may_retry(_job(rule, cancel=Cancel(at=1)), outcome)


@pytest.mark.parametrize("kind", OutcomeKind)
def test_without_rules_every_failure_is_repeated_but_what_was_refused_or_lost(kind: OutcomeKind) -> None:
    never = {OutcomeKind.CANCELLED, OutcomeKind.REFUSED, OutcomeKind.LOST}
    assert may_retry(_job(), Outcome(kind=kind, exit_code=1)) is (kind not in never)


def test_nothing_is_repeated_while_what_was_before_may_live() -> None:
    assert may_retry(_job(RetryRule(kind=TIMED_OUT)), Outcome(kind=TIMED_OUT, detail="kill"))
    assert not may_retry(_job(RetryRule(kind=TIMED_OUT)), Outcome(kind=TIMED_OUT, detail="kill", survivors=1))


def test_rules_do_not_weaken_what_a_job_says_of_losses() -> None:
    job = _job(RetryRule(kind=EXITED), spec={"idempotent": True, "loss_policy": LossPolicy.RETRY})
    assert may_retry(job, Outcome(kind=OutcomeKind.LOST))


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (RetryRule(kind=OutcomeKind.CANCELLED), "retry.rules.kind"),
        (RetryRule(kind=SIGNALED, exit_codes=(1,)), "retry.rules.exit_codes"),
        (RetryRule(kind=EXITED, signals=(1,)), "retry.rules.signals"),
    ],
)
def test_rules_that_can_never_match_are_refused(rule: RetryRule, field: str) -> None:
    request = NewJob(kind=JobKind.JOB, steps=(Step(script="true"),), retry_rules=(rule,))
    with pytest.raises(InvalidArgument) as refused:
        make_spec(request, JobDefaults())
    assert refused.value.metadata["field"] == field
