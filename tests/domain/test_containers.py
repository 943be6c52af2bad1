"""What may be asked of a container."""

from __future__ import annotations

from typing import Any

import pytest

from runner_service.domain.containers import CONTAINER_LABEL, Container, check_volume
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import JobKind, Step
from runner_service.domain.requests import JobDefaults, NewJob, make_spec


def _asked(*, steps: tuple[Step, ...] = (Step(script="true"),), **container: Any) -> NewJob:
    return NewJob(kind=JobKind.JOB, steps=steps, container=Container(**{"image": "debian:12", **container}))


@pytest.mark.parametrize("volume", ["/srv:/srv", "/srv/a b:/data:ro", "cache:/var/cache", "/a:/b:ro,rslave"])
def test_a_volume_is_what_docker_takes(volume: str) -> None:
    assert check_volume(volume, field="volumes") == volume


@pytest.mark.parametrize(
    "volume", ["", "/srv", "/srv:", ":/srv", "/a:b", "/a:/", "/a:/workspace", "a/b:/c", "/a/../b:/c", "/a:/b:exec"]
)
def test_what_is_no_volume_is_refused(volume: str) -> None:
    with pytest.raises(InvalidArgument):
        check_volume(volume, field="volumes")


@pytest.mark.parametrize(
    ("field", "value"), [("image", ""), ("image", "a b"), ("user", "a\n"), ("network", "é"), ("volumes", ("x",))]
)
def test_what_makes_no_sense_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        make_spec(_asked(**{field: value}), JobDefaults())
    assert f"container.{field}" in str(refused.value)


def test_a_job_in_a_container_needs_a_runner_that_runs_them() -> None:
    assert make_spec(_asked(), JobDefaults()).required_labels == {CONTAINER_LABEL: "yes"}


def test_a_step_without_a_command_is_the_images_own_and_needs_an_image() -> None:
    assert make_spec(_asked(steps=(Step(),)), JobDefaults()).steps == (Step(),)
    with pytest.raises(InvalidArgument):
        make_spec(NewJob(kind=JobKind.JOB, steps=(Step(),)), JobDefaults())
