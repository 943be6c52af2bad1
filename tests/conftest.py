"""Shared by every room of the tests: the stubs are rebuilt before anything imports them, SIGINT interrupts, and
what hypothesis tries depends neither on chance nor on the speed of the machine."""

from __future__ import annotations

import fcntl
import gc
import importlib.util
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

COMPLETE = "RUNNER_TESTS_COMPLETE"
"""Set where everything that tests need was installed: there a test that skips because something is not fails."""


def _build_stubs() -> None:
    path = Path(__file__).resolve().parent.parent / "proto" / "generate.py"
    spec = importlib.util.spec_from_file_location("proto_generate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # One builder at a time, so that parallel runs never import half a tree.
    with (Path(tempfile.gettempdir()) / "runner-service-stubs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if module.is_stale():
            module.generate()


def _take_interrupts() -> None:
    """A shell that runs the tests in the background has them ignore SIGINT, and so would every program they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_build_stubs()
_take_interrupts()
# `--hypothesis-profile=default` looks for new examples.
settings.register_profile("house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get(COMPLETE) and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if "is not installed" in reason:
            report.outcome, report.longrepr = "failed", f"{reason}, where {COMPLETE} says that everything is"
    return report


def pytest_collection_finish() -> None:
    """What was imported stays: no collection of garbage need look at it again, which takes a tenth of a second each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _blame() -> Iterator[None]:
    """What a module leaves open is found at its end, and not in the middle of one that comes later."""
    yield
    gc.collect()
