"""``python -m benchmarks [NAME…] [--json] [--quick] [--page FILE] [--save FILE] [--against FILE [--of FILE]]``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path

import uvloop

from benchmarks.comparison import Run, compare, facts, load_runs, report, save_run
from benchmarks.figures import Stopwatch
from benchmarks.report import Row, as_json, into_page, table

NAMES = (
    "commands",
    "follow",
    "stream",
    "gateway",
    "codec",
    "footprint",
    "store",
    "redaction",
    "reports",
    "runners",
    "departures",
    "agents",
)
WORSE = 3
"""Exit code: a row is worse than the one it is compared with."""


def main() -> int:
    """Returns 0 unless a measurement failed to run (1), or ``--against`` found something worse (`WORSE`)."""
    options = _parse()
    if options.of is not None:
        return _compare(options.against, load_runs(options.of))
    before, watch = _load(), Stopwatch()
    try:
        rows, failed = uvloop.run(_measure(options.names or list(NAMES), quick=options.quick))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    after = _load()
    run = facts() | {"cores": os.cpu_count(), "load_before": before, "load_after": after, "failed": failed}
    run["rows"] = [as_json(row) for row in rows]
    if options.page is not None:
        options.page.write_text(into_page(options.page.read_text(), rows, _sentence(run)))
    if options.save is not None:
        save_run(options.save, run)
    if options.json:
        print(json.dumps(run, indent=2))
    else:
        print(table(rows))
        print(f"\n{os.cpu_count()} cores, load average {before} before and {after} after, {watch.seconds:.0f} s")
        if failed:
            print(f"failed to run: {', '.join(failed)}")
    worse = _compare(options.against, [run]) if options.against is not None else 0
    return 1 if failed else worse


def _sentence(run: Run) -> str:
    machine, commit = run["machine"], str(run["commit"])[:7] or "no checkout"
    failed = f" Failed to run: {', '.join(run['failed'])}." if run["failed"] else ""
    return (
        f"`{run['command']}` at {commit}{' with changes' if run['changed'] else ''}, on {machine['cores']} cores "
        f"({machine['processor'] or 'of unknown kind'}), {machine['memory_gb']} GB, Python {machine['python']}; load "
        f"average {run['load_before']} before and {run['load_after']} after.{failed}"
    )


def _compare(against: Path, now: list[Run]) -> int:
    then = load_runs(against)
    changes, unpaired = compare(then, now)
    # Not among what --json prints.
    print(report(changes, unpaired, then=len(then), now=len(now)), file=sys.stderr)
    return WORSE if any(change.worse for change in changes) else 0


async def _measure(names: list[str], *, quick: bool) -> tuple[list[Row], list[str]]:
    # So that SIGTERM too unwinds, and no server is left behind.
    current = asyncio.current_task()
    assert current is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    rows: list[Row] = []
    failed = []
    for name in names:
        watch = Stopwatch()
        try:
            rows += await import_module(f"benchmarks.{name}").measure(quick)
        except Exception:
            # The others are still worth printing; the exit code tells.
            traceback.print_exc()
            failed.append(name)
        print(f"{name}: {watch.seconds:.1f} s", file=sys.stderr)
    return rows, failed


def _load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*NAMES, []],  # the second is what no name at all is checked as
        metavar="NAME",
        help=f"of {', '.join(NAMES)}",
    )
    parser.add_argument("--json", action="store_true", help="print an object instead of a table")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, all under 40 s")
    parser.add_argument("--save", type=Path, metavar="FILE", help="add this run to those of the file")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="compare with the runs of the file, and exit with 3 when a row is worse by more than a tenth",
    )
    parser.add_argument("--of", type=Path, metavar="FILE", help="compare the runs of this file, and measure nothing")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table into this page")
    options = parser.parse_args()
    if options.of is not None and options.against is None:
        parser.error("--of says what is compared: name with what by --against")
    return options


if __name__ == "__main__":
    sys.exit(main())
