"""``python -m benchmarks [NAME…] [--json] [--quick]``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import traceback
from importlib import import_module

import uvloop

from benchmarks.figures import Stopwatch
from benchmarks.report import Row, as_json, table

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


def main() -> int:
    """Returns 0 unless a measurement failed to run; what it found is for the reader to judge."""
    options = _parse()
    before, watch = _load(), Stopwatch()
    try:
        rows, failed = uvloop.run(_measure(options.names or list(NAMES), quick=options.quick))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    after = _load()
    if options.json:
        document = {"cores": os.cpu_count(), "load_before": before, "load_after": after, "failed": failed}
        print(json.dumps(document | {"rows": [as_json(row) for row in rows]}, indent=2))
    else:
        print(table(rows))
        print(f"\n{os.cpu_count()} cores, load average {before} before and {after} after, {watch.seconds:.0f} s")
        if failed:
            print(f"failed to run: {', '.join(failed)}")
    return 1 if failed else 0


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
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
