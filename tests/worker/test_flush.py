"""When output goes out."""

from __future__ import annotations

import pytest

from runner_service.worker.flush import FlushPolicy
from runner_service.worker.times import WorkerTimes

NOW = float("-inf")


@pytest.fixture
def policy() -> FlushPolicy:
    return FlushPolicy(WorkerTimes())


@pytest.mark.parametrize(
    ("followed", "silence", "due"),
    [
        (False, 1.0, NOW),  # The first after a silence goes at once, for those who poll.
        (False, 0.1, 11.0),
        (True, 0.1, NOW),
        (True, 0.01, 10.02),
    ],
)
def test_output_after_silence_goes_at_once_and_else_by_the_interval(
    policy: FlushPolicy, followed: bool, silence: float, due: float
) -> None:
    policy.follow(followed)
    policy.grew(10.0)
    policy.flushed(10.0)
    policy.grew(10.0 + silence)
    assert policy.due(1) == due


def test_64_kib_go_at_once(policy: FlushPolicy) -> None:
    policy.grew(10.0)
    policy.flushed(10.0)
    policy.grew(10.001)
    assert policy.due(65535) == 11.0
    assert policy.due(65536) == NOW


def test_whoever_begins_to_follow_gets_what_was_held_back(policy: FlushPolicy) -> None:
    policy.grew(10.0)
    policy.flushed(10.0)
    policy.grew(10.001)
    assert policy.follow(True)
    assert policy.due(1) == NOW
    assert not policy.follow(True)
