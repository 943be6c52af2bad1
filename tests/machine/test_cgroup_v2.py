"""Limits and kills on a kernel with all controllers on cgroup v2: the supervisor's own tests, in a machine of it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from virtual_machine import PATIENCE, boot, needs_machine

ROOT = Path(__file__).parents[2]
SUPERVISOR = "tests/worker/supervisor"
SELECTED = (
    f"{SUPERVISOR}/guest_whole_machine.py",
    *(
        f"{SUPERVISOR}/{name}"
        for name in (
            "test_supervisor_limits.py::test_a_fork_bomb_meets_its_limit_and_is_ended",
            "test_supervisor_limits.py::test_the_runners_own_limit_holds_for_every_job",
            "test_supervisor_limits.py::test_steps_after_the_first_are_held_to_the_same_limit",
            "test_supervisor_limits.py::test_memory_over_the_limit_is_out_of_memory",
            "test_supervisor_limits.py::test_a_child_over_the_limit_counts_when_the_job_fails_of_it",
            "test_supervisor_limits.py::test_too_little_memory_to_start_in_ends_nobody_else",
            "test_supervisor_limits.py::test_a_job_gets_no_more_than_its_share_of_the_processors",
            "test_supervisor_limits.py::test_nothing_is_left_of_the_cgroups",
            "test_supervisor_kill.py::test_a_cancel_leaves_no_process_whatever_they_did_to_hide",
            "test_supervisor_kill.py::test_the_hidden_processes_of_two_jobs_at_once_are_told_apart",
            "test_supervisor_kill.py::test_a_tree_that_forks_faster_than_one_can_look_is_ended",
            "test_supervisor_life.py::test_a_supervisor_that_is_killed_takes_its_jobs_with_it_and_the_next_says_so",
        )
    ),
)
# Every plugin costs seconds there, and so would what `tests/conftest.py` needs.
PLUGINS = ("no:cacheprovider", "pytest_asyncio.plugin", "pytest_timeout")


SETTINGS = "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 RUNNER_TESTS_PATIENCE=600"


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE)
@needs_machine
def test_the_supervisors_tests_hold_on_cgroup_v2() -> None:
    arguments = [
        sys.executable,
        "-m",
        "pytest",
        "--color=no",
        "--tb=short",
        "--timeout=1200",
        f"--confcutdir={SUPERVISOR}",
        *SELECTED,
    ]
    for plugin in PLUGINS:
        arguments += ["-p", plugin]
    command = f"cd {shlex.quote(str(ROOT))} && {SETTINGS} {shlex.join(arguments)}"
    with boot(command) as machine:
        code = machine.exit_code()
        assert code == 0, machine.text()
        assert "skipped" not in machine.text(), machine.text()
