"""What a measurement returns, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Goal:
    """What is wanted of a row: its own figure, or its ratio to the baseline, at least or at most so much.

    Below the floor is a fault; the aim is where we are going.
    """

    of: Literal["ours", "ratio"]
    better: Literal["higher", "lower"]
    floor: float | None = None
    aim: float | None = None

    def verdict(self, figure: float) -> str:
        """``aim``, ``met floor`` or ``below``."""
        if self.aim is not None and self._reaches(figure, self.aim):
            return "aim"
        if self.floor is not None and self._reaches(figure, self.floor):
            return "met floor"
        return "below"

    def _reaches(self, figure: float, limit: float) -> bool:
        return figure >= limit if self.better == "higher" else figure <= limit


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. ``baseline`` has the same unit; ``how`` says repeats and sizes, in a few words."""

    what: str
    ours: float
    unit: str
    baseline: float | None = None
    against: str = ""
    goal: Goal | None = None
    how: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.baseline if self.baseline else None

    @property
    def verdict(self) -> str:
        """``aim``, ``met floor``, ``below``; empty for a row that is only there to be seen."""
        if self.goal is None:
            return ""
        figure = self.ours if self.goal.of == "ours" else self.ratio
        return "" if figure is None else self.goal.verdict(figure)


_HEADER = ("what", "ours", "baseline", "ratio", "floor", "aim", "verdict", "against", "how")
_RIGHT = frozenset({1, 2, 3, 4, 5})


def table(rows: Iterable[Row]) -> str:
    """The rows as one aligned table."""
    lines: list[Sequence[str]] = [_HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in _RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


_PAGE = ("what", "ours", "baseline", "ratio", "floor", "aim", "verdict", "how")
BEGIN, END = "<!-- figures: make bench-page -->", "<!-- end of figures -->"
"""Between these lines of a page is what the tool printed."""


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a table of a page."""
    lines: list[Sequence[str]] = [_PAGE, ["---"] * len(_PAGE)]
    for row in rows:
        what, ours, baseline, ratio, floor, aim, verdict, against, how = _cells(row)
        beside = f"{baseline} {against}".strip()
        lines.append((what, ours, beside, ratio.replace("x", "×"), floor, aim, verdict, how))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def into_page(page: str, rows: Iterable[Row], facts: str) -> str:
    """The page with these rows in the place of the figures that it had.

    Raises:
        ValueError: It has no place for figures.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for figures")
    return f"{before}{BEGIN}\n{facts}\n\n{markdown(rows)}\n{END}{after}"


def as_json(row: Row) -> dict[str, Any]:
    """The row as members of an object, with what follows from them."""
    return asdict(row) | {"ratio": row.ratio, "verdict": row.verdict}


def _cells(row: Row) -> Sequence[str]:
    baseline = "" if row.baseline is None else f"{_number(row.baseline)} {row.unit}"
    ratio = "" if row.ratio is None else f"{_number(row.ratio)}x"
    floor, aim = (
        ("", "") if row.goal is None else (_limit(row, row.goal, row.goal.floor), _limit(row, row.goal, row.goal.aim))
    )
    return (
        row.what,
        f"{_number(row.ours)} {row.unit}",
        baseline,
        ratio,
        floor,
        aim,
        row.verdict,
        row.against,
        row.how,
    )


def _limit(row: Row, goal: Goal, limit: float | None) -> str:
    if limit is None:
        return ""
    sign = ">=" if goal.better == "higher" else "<="
    unit = "x" if goal.of == "ratio" else f" {row.unit}"
    return f"{sign} {limit:,g}{unit}"


def _number(value: float) -> str:
    """About three digits."""
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"
