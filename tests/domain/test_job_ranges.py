"""Numbers that a job may ask for."""

from __future__ import annotations

import pytest

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import JobKind, Limits, Step
from runner_service.domain.requests import JobDefaults, NewJob, make_spec


@pytest.mark.parametrize(
    ("limits", "range"),
    [
        (Limits(memory_bytes=1 << 20), "4194304 to 1125899906842624"),
        (Limits(cpus=float("nan")), "0 to 4096"),
        (Limits(processes=1 << 30), "0 to 4194304"),
    ],
    ids=["memory", "cpus", "processes"],
)
def test_what_is_out_of_range_is_told_the_range_in_digits(limits: Limits, range: str) -> None:
    asked = NewJob(kind=JobKind.JOB, steps=(Step(script="true"),), limits=limits)
    with pytest.raises(InvalidArgument, match=f"give a number from {range}\\.$"):
        make_spec(asked, JobDefaults())
