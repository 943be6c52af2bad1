"""What a runner's configuration means for the jobs that are submitted to it."""

from __future__ import annotations

import pytest

from runner.dialects.rustci.v1 import runner_service_pb2 as pb
from runner_service.dialects.rustci import bodies
from runner_service.domain.containers import Container
from runner_service.domain.jobs import Limits
from runner_service.domain.requests import JobDefaults, make_spec
from runner_service.domain.runner_config import DockerConfig, ResourceLimits, RunnerConfig


def _asked(**more: str) -> pb.SubmitJobRequest:
    return pb.SubmitJobRequest(name="build", steps=[pb.SubmitJobRequest.Step(name="s", run="true")], **more)


def test_the_resource_limits_hold_for_every_job() -> None:
    config = RunnerConfig(resource_limits=ResourceLimits(cpu_limit="500m", memory_limit="1Gi", disk_limit="2Mi"))
    limits = bodies.new_job(_asked(), "r", config).limits
    assert limits == Limits(cpus=0.5, memory_bytes=1 << 30, disk_bytes=2 << 20)


DOCKER = DockerConfig(privileged=True, network_mode="host", volumes=("/a:/b:ro",), image="debian:12")


@pytest.mark.parametrize(
    ("asked", "docker", "container"),
    [
        ({}, None, None),
        ({}, DockerConfig(), None),
        (
            {},
            DOCKER,
            Container(image="debian:12", network="host", volumes=("/a:/b:ro",), privileged=True),
        ),
        ({"image": "alpine"}, DockerConfig(), Container(image="alpine", network="bridge")),
        ({"image": "alpine"}, None, Container(image="alpine")),
    ],
)
def test_docker_settings_hold_for_every_job_that_has_an_image(
    asked: dict[str, str], docker: DockerConfig | None, container: Container | None
) -> None:
    request = bodies.new_job(_asked(**asked), "r", RunnerConfig(docker_config=docker))
    assert request.container == container
    assert make_spec(request, JobDefaults()).required_labels.get("docker") == ("yes" if container else None)
