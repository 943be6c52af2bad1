"""The faults strike a real server in a process of its own: that of the end-to-end tests."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "store"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "worker" / "executors"))

from e2e_server import ServerProcess
from faults_tally import TALLIES, Tally
from faults_zygote import Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Begins the processes of a module's tests."""
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that is killed again and again; at its end nothing may be left of it."""
    process = ServerProcess(tmp_path)
    process.start()
    yield process
    sys.stderr.write(process.errors)
    process.close()


def pytest_configure(config: pytest.Config) -> None:
    """Tallies are added up over all processes of a run, and printed by the one that started it."""
    total = Tally()

    def take(tally: Tally) -> None:
        total.add(tally)
        output = getattr(config, "workeroutput", None)
        if output is not None:
            output["faults"] = json.dumps(vars(total))

    config.stash[TALLIES] = take
    config.stash[_TOTAL] = total


def pytest_testnodedown(node: Any) -> None:
    text = getattr(node, "workeroutput", {}).get("faults")
    if text:
        values = {
            name: Counter(value) if isinstance(value, dict) else value for name, value in json.loads(text).items()
        }
        node.config.stash[_TOTAL].add(Tally(**values))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    total = config.stash[_TOTAL]
    if total.schedules:
        terminalreporter.section("fault schedules")
        terminalreporter.write_line(total.table())


_TOTAL = pytest.StashKey[Tally]()
