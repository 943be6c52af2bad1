"""The suite is proven by faults that are planted: it must catch each of them.

The slow tests plant one of each kind, `make faults` (``FAULT_MUTANTS=all``) every one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from faults_mutants import MUTANTS, ROOT, Mutant, plant
from faults_mutants_of_rows import OF_ROWS

TRIES = 3
"""Processes and chance are not the same in every run."""
SOME = (
    "a report that comes twice ends the job twice",
    "a lease runs out without the kill budget",
    "the cancel of a queued job is noted, and ignored",
    "an append cuts what it has already off by one",
    "what had begun when its supervisor died is started again",
    "a cut-off commit is acknowledged",
)
ALL = (*MUTANTS, *OF_ROWS)
PLANTED = [one for one in ALL if one.name in SOME or os.environ.get("FAULT_MUTANTS") == "all"]
SMALL = {"FAULT_SCHEDULES": "25", "FAULT_CROWD": "500", "FAULT_LOG_MB": "120"}
FAILED = 1
"""pytest's exit code when tests failed; others mean that they were not run."""


async def verdict_on(mutant: Mutant, place: Path, **more: str) -> tuple[int, str]:
    """What the tests that are to catch it say."""
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            f"--basetemp={place}-temp",
            *mutant.caught_by.split(),
        ),
        cwd=ROOT,
        env={**plant(mutant, place), "FAULT_MODEL_EXAMPLES": "300", **SMALL, **more},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.name.replace(" ", "_"))
async def test_a_planted_fault_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    for number in range(TRIES):
        code, said = await verdict_on(mutant, tmp_path / str(number))
        if code == FAILED:
            return
    raise AssertionError(said[-3_000:])


def test_the_list_is_one_of_different_faults() -> None:
    assert len({one.name for one in ALL}) == len(ALL)
    assert set(SOME) < {one.name for one in ALL}
    for one in ALL:
        for file, before, after in one.changes:
            assert (ROOT / file).read_text().count(before) == 1 and before != after, one.name


def test_each_guarantee_is_seen_broken_by_a_test_that_it_names() -> None:
    page = (ROOT / "docs" / "explanation" / "guarantees.md").read_text()
    rows = [line.split("|")[1:4] for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for what, _, tests in rows:
        named = [test.strip().strip("`") for test in tests.split(",")]
        assert any(test.startswith(one.catches) for one in ALL for test in named), f"no fault is planted for: {what}"
