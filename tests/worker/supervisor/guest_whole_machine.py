"""Run in a virtual machine, whose memory and process numbers may all be used up: what no limit of a job forbids."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from supervisor_rig import Hold, alive, with_token

from runner_service.domain.outcomes import OutcomeKind
from runner_service.worker.supervisor import hierarchies


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", script, *arguments]


def test_all_controllers_are_on_v2() -> None:
    places = hierarchies.make_places()
    assert (places.v1, hierarchies.controllers(places)) == ({}, ["pids", "memory", "cpu"])
    assert hierarchies.remove(places)


ENDLESS = """
import os, time
while True:
    try:
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
    except BlockingIOError:
        os.write(1, b"no more")
        time.sleep(1000)
"""


async def test_a_fork_bomb_without_a_limit_of_its_own_holds_up_nobody(
    tmp_path: Path, make_hold: Callable[[Path], Hold]
) -> None:
    token = uuid.uuid4().hex
    hold = make_hold(tmp_path / "w")
    await hold.connect(job_processes=300)
    await hold.start("bomb", python(ENDLESS, token))
    await hold.event("output", "bomb")
    assert len(with_token(token)) == 300
    beside = await hold.run("beside", "echo fine | cat | cat")  # As many as it likes: the others do not count.
    assert beside.outcome.succeeded
    await hold.client.kill("bomb", "cancel")
    assert (await hold.end("bomb")).outcome.survivors == 0
    assert with_token(token) == []


async def test_a_job_that_eats_all_memory_of_the_machine_ends_alone(hold: Hold) -> None:
    pid = hold.client.pid
    await hold.start("beside", "read line; echo fine", stdin="PIPE")
    await hold.event("started", "beside")
    eater = "kept = []\nwhile True: kept.append(bytearray(1 << 24))"
    end = await hold.run("eater", python(eater))
    assert (end.outcome.kind, end.outcome.signal) == (OutcomeKind.SIGNALED, 9)
    assert alive(pid) and alive(hold.client.guard_pid)
    assert [one.attempt_id for one in await hold.client.hello() if one.outcome is None] == ["beside"]


async def test_another_hierarchy_gives_what_it_has(tmp_path: Path) -> None:
    """Where a user is given memory and processes and no processors, those are held."""
    root = Path("/sys/fs/cgroup")  # What was given before to what is there no more is taken back.
    (root / "given").mkdir()
    (root / "cgroup.subtree_control").write_text("+pids +memory -cpu")
    (root / "given/here").mkdir()
    me = root / "given/here/cgroup.procs"
    me.write_text("0")  # As in systemd: what was given has no process of its own, but this leaf.
    try:
        other = Hold(tmp_path / "other")
        await other.connect()
        end = await other.run("a", python("bytearray(200 << 20)"), memory_bytes=64 << 20, processes=50, cpus=0.5)
        assert (end.outcome.kind, end.outcome.unenforced_limits) == (OutcomeKind.OUT_OF_MEMORY, ("cpus",))
        await other.client.shutdown()
        await other.gone()
        assert [path.name for path in (root / "given").iterdir() if path.is_dir()] == ["here"]
    finally:
        (root / "cgroup.procs").write_text("0")
