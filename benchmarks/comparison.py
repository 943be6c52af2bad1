"""Runs kept in a file, and what became worse between two of them."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

TOLERANCE = 0.10
"""A row is worse when its figure is by more than this."""
Run = Mapping[str, Any]
"""One run, as `--json` prints it."""


def facts() -> dict[str, Any]:
    """What a run was measured with and on."""
    return {
        "command": " ".join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "processor": _processor(),
            "cores": psutil.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
    }


def _git(*words: str) -> str:
    """What git says of the checkout that this is; empty outside of one."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def load_runs(path: Path) -> list[Run]:
    """The runs of a file that `save_run` wrote, or the one that ``--json`` printed."""
    document = json.loads(path.read_text())
    runs = document.get("runs", [document])
    if not all(isinstance(run.get("rows"), list) for run in runs):
        raise ValueError(f"{path} holds no runs of benchmarks")
    return list(runs)


def save_run(path: Path, run: Run) -> None:
    """Adds a run to those of the file, which need not be there."""
    runs = load_runs(path) if path.exists() else []
    path.write_text(json.dumps({"runs": [*runs, run]}, indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row, then and now; medians of the runs that have it."""

    what: str
    then: float
    now: float
    of: str
    """``ratio``, to the baseline of the same run, wherever both have one; else the figure with its unit."""
    loss: float
    """By which part it is worse, as 0.2 for a rate of 100 in place of 120, and a time of 120 in place of 100; negative
    when it is better."""

    @property
    def worse(self) -> bool:
        return self.loss > TOLERANCE


def compare(then: Sequence[Run], now: Sequence[Run]) -> tuple[list[Change], list[str]]:
    """The rows that both have, in the order of now, and what only one of them has."""
    before, after = _by_name(then), _by_name(now)
    changes = [_change(name, before[name], rows) for name, rows in after.items() if name in before]
    return changes, [*(name for name in before if name not in after), *(name for name in after if name not in before)]


def _by_name(runs: Iterable[Run]) -> dict[str, list[Mapping[str, Any]]]:
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        for row in run["rows"]:
            rows.setdefault(row["what"], []).append(row)
    return rows


def _change(name: str, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Change:
    relative = all(row.get("ratio") is not None for row in (*before, *after))
    member = "ratio" if relative else "ours"
    then, now = (statistics.median(row[member] for row in rows) for rows in (before, after))
    unit = str(after[0]["unit"])
    good, bad = (now, then) if unit.endswith("/s") else (then, now)
    return Change(what=name, then=then, now=now, of="ratio" if relative else unit, loss=bad / good - 1 if good else 0.0)


def report(changes: Iterable[Change], unpaired: Sequence[str], *, then: int, now: int) -> str:
    """All of it as text, the worst first."""
    lines = [f"{'then':>12} {'now':>12}  {'worse by':>9}  what"]
    for one in sorted(changes, key=lambda change: -change.loss):
        mark = "  WORSE" if one.worse else ""
        lines.append(f"{one.then:>12.4g} {one.now:>12.4g}  {one.loss:>+9.1%}  {one.what} ({one.of}){mark}")
    if unpaired:
        lines.append(f"only in one of them: {', '.join(unpaired)}")
    lines.append(f"medians of {then} runs then and {now} now; worse means by more than {TOLERANCE:.0%}")
    return "\n".join(lines)
