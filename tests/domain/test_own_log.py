"""A line an event: for people, for programs, and for nobody else's words."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner_service.domain.errors import StorageFull, StoreUnavailable
from runner_service.domain.own_log import write_own_log

log = logging.getLogger("runner_service.test")


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    root.handlers[:] = []  # pytest's own are put back, not closed.
    write_own_log("warn", tmp_path / "own.log")
    yield tmp_path / "own.log"
    for handler in root.handlers:
        handler.close()
    root.level, root.handlers[:] = before
    root.setLevel(before[0])


def lines(path: Path) -> list[str]:
    """Without their times."""
    return [line.split(" ", 2)[2] for line in path.read_text().splitlines()]


def test_a_line_has_the_sentence_and_the_facts(written: Path) -> None:
    log.info("not at this level", extra={"action": "quiet"})
    log.warning("The lease of %s is over.", "build 7", extra={"action": "lease_over", "job_id": 7, "what": "a b"})
    log.warning("of a library", extra={"color_message": "x"})
    assert lines(written) == [
        'WARNING runner_service.test: The lease of build 7 is over. action=lease_over job_id=7 what="a b"',
        "WARNING runner_service.test: of a library",
    ]


def test_names_of_others_begin_no_line_and_obey_no_terminal(written: Path) -> None:
    log.warning("Registered as %s.", "x\n2026 INFO fake: y\x1b[2J", extra={"action": "a", "what": "é\n\x07"})
    [line] = lines(written)
    assert line == (
        'WARNING runner_service.test: Registered as x\\n2026 INFO fake: y\\x1b[2J. action=a what="\\u00e9\\n\\u0007"'
    )


def test_a_database_that_is_away_is_not_said_by_each_loop_that_meets_it(written: Path) -> None:
    try:
        raise StoreUnavailable
    except StoreUnavailable:
        log.exception("cannot sweep", extra={"action": "sweep_failed"})
    assert written.read_text() == ""


def test_a_full_disk_is_one_line_a_minute_of_each_loop(written: Path) -> None:
    for what in ("audit", "audit", "metrics"):
        try:
            raise StorageFull
        except StorageFull:
            log.exception(f"cannot write the {what}", extra={"action": "failed"})
    said = lines(written)
    assert [line.partition(" action=")[0] for line in said] == [
        "ERROR runner_service.test: cannot write the audit",
        "ERROR runner_service.test: cannot write the metrics",
    ]
    assert all("reason=STORAGE_FULL" in line and "disk" in line for line in said)


def test_a_traceback_has_its_lines(written: Path) -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        log.warning("It failed.", exc_info=sys.exc_info(), extra={"action": "failed"})
    text = written.read_text()
    assert "It failed. action=failed\nTraceback (most recent call last):\n" in text
