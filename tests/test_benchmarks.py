"""The benchmarks' own arithmetic; what they measure is never asserted."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES, WORSE, main
from benchmarks.comparison import compare, facts, load_runs, report, save_run
from benchmarks.figures import percentile
from benchmarks.report import BEGIN, END, Goal, Row, as_json, into_page, table


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


def _run(**figures: tuple[float, str, float | None]) -> dict[str, object]:
    return {
        "rows": [
            as_json(Row(what=what, ours=ours, unit=unit, baseline=baseline))
            for what, (ours, unit, baseline) in figures.items()
        ]
    }


def test_runs_are_compared_by_ratio_where_there_is_one_and_the_median_counts() -> None:
    then = [
        _run(rate=(90.0, "/s", 100.0), time=(10.0, "ms", 1.0), memory=(100.0, "MB RSS", None), old=(1.0, "s", None))
    ]
    now = [
        # A machine that is half as fast, in a run of three that says something else.
        _run(rate=(41.0, "/s", 50.0), time=(24.0, "ms", 2.0), memory=(109.0, "MB RSS", None), new=(1.0, "s", None)),
        _run(rate=(1.0, "/s", 50.0), time=(24.0, "ms", 2.0), memory=(109.0, "MB RSS", None)),
        _run(rate=(41.0, "/s", 50.0), time=(24.0, "ms", 2.0), memory=(109.0, "MB RSS", None)),
    ]
    changes, unpaired = compare(then, now)
    assert {one.what: (one.of, round(one.loss, 3), one.worse) for one in changes} == {
        "rate": ("ratio", 0.098, False),
        "time": ("ratio", 0.2, True),
        "memory": ("MB RSS", 0.09, False),
    }
    assert unpaired == ["old", "new"]
    _, worst, *_, last = report(changes, unpaired, then=1, now=3).splitlines()
    assert worst.split() == ["10", "12", "+20.0%", "time", "(ratio)", "WORSE"]
    assert "1 runs then and 3 now" in last


def test_runs_are_saved_beside_each_other_and_compared_from_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, printed = tmp_path / "before.json", tmp_path / "after.json", tmp_path / "printed.json"
    save_run(before, facts() | _run(rate=(100.0, "/s", None)))
    save_run(before, _run(rate=(100.0, "/s", None)))
    save_run(after, _run(rate=(80.0, "/s", None)))
    printed.write_text(json.dumps(_run(rate=(95.0, "/s", None))))
    assert len(load_runs(before)) == 2
    assert load_runs(before)[0]["machine"]["python"]
    for of, code in ((after, WORSE), (printed, 0)):
        monkeypatch.setattr("sys.argv", ["benchmarks", "--against", str(before), "--of", str(of)])
        assert main() == code
    assert "WORSE" in capsys.readouterr().err
    (tmp_path / "other.json").write_text('{"runs": [{}]}')
    with pytest.raises(ValueError, match="holds no runs"):
        load_runs(tmp_path / "other.json")


def test_figures_take_the_place_of_those_that_a_page_had() -> None:
    rows = [
        Row(what="rate", ours=650.0, unit="/s", baseline=1300.0, against="spawn", goal=Goal("ratio", "higher", 0.5))
    ]
    page = into_page(f"# Page\n{BEGIN}\nold\n{END}\nmore\n", rows, "As measured.")
    assert page == into_page(page, rows, "As measured.")
    assert "old" not in page
    assert page.startswith("# Page\n")
    assert page.endswith(f"{END}\nmore\n")
    assert "| rate | 650 /s | 1,300 /s spawn | 0.500× | >= 0.5× |  | met floor |  |" in page.replace("0.5x", "0.5×")
    with pytest.raises(ValueError, match="no place"):
        into_page("# Page\n", rows, "")


def test_the_page_of_the_benchmarks_has_a_place_for_figures() -> None:
    page = Path(__file__).parent.parent / "docs" / "reference" / "benchmarks.md"
    assert into_page(page.read_text(), [], "")
