"""What schedules count, and the table that is printed of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import pytest


@dataclass
class Tally:
    """What the printed table says."""

    schedules: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    contained: int = 0
    """Of them in containers."""
    attempts: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    losses: int = 0
    duplicates: int = 0
    double_runs: int = 0
    survivors: int = 0

    @property
    def zeros(self) -> tuple[int, int, int, int]:
        return self.losses, self.duplicates, self.double_runs, self.survivors

    def add(self, other: Tally) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def table(self) -> str:
        kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(self.faults.items()))
        ends = ", ".join(f"{name} {count:,}" for name, count in sorted(self.ends.items()))
        rows = [
            ("schedules", f"{self.schedules:,}"),
            ("faults injected", f"{self.faults.total():,} ({kinds})"),
            (
                "jobs run",
                f"{self.jobs:,}, {self.contained:,} of them in containers, in {self.attempts:,} attempts ({ends})",
            ),
            ("bytes compared", f"{self.compared:,}"),
            ("losses", str(self.losses)),
            ("duplicates", str(self.duplicates)),
            ("double runs", str(self.double_runs)),
            ("survivors", str(self.survivors)),
        ]
        return "\n".join(f"{name:<16} {value}" for name, value in rows)


TALLIES = pytest.StashKey[Callable[[Tally], None]]()
"""Where a session takes the tallies of its tests; see conftest."""
