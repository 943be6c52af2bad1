"""The benchmarks' own arithmetic; what they measure is never asserted."""

from __future__ import annotations

from importlib import import_module

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.figures import percentile
from benchmarks.report import Goal, Row, as_json, table


@pytest.mark.parametrize("name", NAMES)
def test_every_measurement_has_a_measure(name: str) -> None:
    assert callable(import_module(f"benchmarks.{name}").measure)


@pytest.mark.parametrize(
    ("goal", "ours", "baseline", "verdict"),
    [
        (Goal("ratio", "higher", 0.5, 1.3), 49.0, 100.0, "below"),
        (Goal("ratio", "higher", 0.5, 1.3), 50.0, 100.0, "met floor"),
        (Goal("ratio", "higher", 0.5, 1.3), 130.0, 100.0, "aim"),
        (Goal("ours", "lower", 10.0, 5.0), 5.0, None, "aim"),
        (Goal("ours", "lower", 10.0, 5.0), 10.1, None, "below"),
        (Goal("ratio", "higher", aim=3.5), 3.0, 1.0, "below"),  # an aim alone has no floor to meet
        (None, 1.0, 1.0, ""),
    ],
)
def test_a_verdict_compares_the_figure_that_the_goal_names(
    goal: Goal | None, ours: float, baseline: float | None, verdict: str
) -> None:
    assert Row(what="it", ours=ours, unit="/s", baseline=baseline, goal=goal).verdict == verdict


def test_the_table_is_aligned_and_says_floor_aim_and_verdict() -> None:
    rows = [
        Row(what="rate", ours=650.0, unit="/s", baseline=1300.0, goal=Goal("ratio", "higher", 0.5, 1.3)),
        Row(what="memory", ours=94.25, unit="MB"),
    ]
    header, _, rate, memory = table(rows).splitlines()
    assert rate.split() == ["rate", "650", "/s", "1,300", "/s", "0.500x", ">=", "0.5x", ">=", "1.3x", "met", "floor"]
    assert memory.split() == ["memory", "94.2", "MB"]
    assert header.index("ours") + len("ours") == memory.index("MB") + len("MB")


def test_json_carries_ratio_and_verdict() -> None:
    found = as_json(Row(what="rate", ours=1.0, unit="/s", baseline=4.0))
    assert (found["ratio"], found["verdict"]) == (0.25, "")


def test_a_percentile_is_a_sample() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert [percentile(samples, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0
