"""Which files a job may ask for."""

from __future__ import annotations

import pytest

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import JobInput, JobKind, Step
from runner_service.domain.requests import JobDefaults, NewJob, make_spec


def _asked(*paths: str) -> NewJob:
    inputs = tuple(JobInput(artifact_id="a", path=path) for path in paths)
    return NewJob(kind=JobKind.JOB, steps=(Step(script="true"),), inputs=inputs)


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("x/y/z", "x")])
def test_inputs_that_cannot_stand_beside_each_other_are_refused_at_once(paths: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument, match="inputs"):
        make_spec(_asked(*paths), JobDefaults())


def test_inputs_may_share_a_directory() -> None:
    paths = ("a/b", "a/c", "ab", "d/a")
    assert [one.path for one in make_spec(_asked(*paths), JobDefaults()).inputs] == list(paths)
