"""The words and numbers of lab queues."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_service.domain.jobs import JobState
from runner_service.domain.queues import PHASES, labels_for, outcome_of, percentiles, requirement, states_of, word_of
from runner_service.domain.runners import explain_missing, satisfies


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_percentiles_interpolate_between_the_closest_ranks(values: list[float]) -> None:
    expected = statistics.quantiles(values, n=100, method="inclusive")
    assert percentiles(values) == pytest.approx({percent: expected[percent - 1] for percent in (5, 10, 50, 90, 95)})


def test_one_value_is_every_percentile_and_none_has_none() -> None:
    assert set(percentiles([3.0]).values()) == {3.0}
    assert percentiles([]) == {}


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("phase", ["", "test", "complete", "odd"])
def test_a_job_is_found_by_the_word_that_it_shows(state: JobState, cancelled: bool, phase: str) -> None:
    if cancelled and state in (JobState.QUEUED, JobState.ASSIGNED):
        return  # a cancel of what has not started ends it at once
    if state is JobState.RUNNING and phase == "complete":
        return  # that word ends it
    if cancelled and state.terminal and state is not JobState.CANCELLED:
        return  # an accepted cancel fixes the final state
    assert state in states_of([word_of(state, cancelled, phase)])


def test_who_serves_a_queue_satisfies_its_jobs_unless_it_is_excluded() -> None:
    required = requirement("q", ["a", "b"])
    assert satisfies(labels_for(["p", "q"], "c"), required)
    assert satisfies(labels_for(["q"]), required)
    assert not satisfies(labels_for(["p"], "c"), required)
    assert not satisfies(labels_for(["q"], "a"), required)
    assert explain_missing(labels_for(["q"], "a"), required) == ["!agent/a"]


@pytest.mark.parametrize(("status", "code"), [(1, 1), (255, 255), (256, 255), (-9, 255)])
def test_the_first_phase_that_failed_says_how_a_job_ended(status: int, code: int) -> None:
    outcome = outcome_of({"setup": 0, "test": status, "cleanup": 3})
    assert (outcome.succeeded, outcome.exit_code, outcome.detail, outcome.step) == (
        False,
        code,
        "test",
        PHASES.index("test"),
    )


def test_a_job_without_codes_succeeded() -> None:
    assert outcome_of({}).succeeded
