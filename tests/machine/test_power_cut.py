"""The power of a machine that runs a server, its local worker and jobs is cut, and comes back."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from virtual_machine import PATIENCE, boot, make_disk, needs_machine

GUEST = Path(__file__).with_name("guest_power_cut.py")


def _command(*arguments: str) -> str:
    return shlex.join([sys.executable, str(GUEST), arguments[0], "/mnt", *arguments[1:]])


@pytest.mark.slow
@pytest.mark.timeout(4 * PATIENCE)
@needs_machine
def test_after_a_power_failure_all_that_was_said_holds_and_what_ran_is_lost_by_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make_disk(disk)
    with boot(_command("before"), disk=disk) as machine:
        jobs = json.loads(machine.says("jobs: "))
        first = machine.says("boot: ")
        machine.cut_power()
    with boot(_command("after", *jobs), disk=disk) as machine:
        done, ran, queued = json.loads(machine.says("found: "))
        assert machine.says("boot: ") != first
        assert machine.says("store: ") == "ok"
        assert machine.exit_code() == 0, machine.text()
    assert (_end(done), done["text"]) == (("SUCCEEDED", ""), "all is well\n")
    assert (_end(ran), ran["text"]) == (("LOST", "machine_rebooted"), "so far\n")
    assert (_end(queued), queued["text"]) == (("SUCCEEDED", ""), "afterwards\n")


def _end(found: dict[str, Any]) -> tuple[str, str]:
    job = found["job"]
    return job["state"].removeprefix("STATE_"), job["outcome"].get("detail", "")
