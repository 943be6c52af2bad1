"""Pauses between tries."""

from __future__ import annotations

from runner_service.worker.backoff import Backoff


def test_pauses_double_up_to_the_most_and_begin_again_after_success() -> None:
    backoff = Backoff(first=0.1, most=1.0, random=lambda: 1.0)
    assert [round(backoff.next(), 3) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.next() == 0.1


def test_the_jitter_is_full() -> None:
    draws = iter((0.0, 0.5, 1.0))
    backoff = Backoff(first=1.0, most=1.0, random=lambda: next(draws))
    assert [backoff.next() for _ in range(3)] == [0.0, 0.5, 1.0]


def test_very_many_failures_do_no_harm() -> None:
    backoff = Backoff(first=0.1, most=5.0, random=lambda: 1.0)
    backoff.failures = 5_000
    assert backoff.next() == 5.0
