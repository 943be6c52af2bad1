"""Limits of a job, its time budgets, and what becomes of it when the spool is full."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from supervisor_rig import PATIENCE, Hold, alive, until, with_token

from runner_service.domain import inputs
from runner_service.domain.logs import LogStream
from runner_service.domain.outcomes import OutcomeKind, TimeBudget
from runner_service.worker.supervisor import hierarchies

MIB = 1 << 20


def _controllers() -> set[str]:
    """Those that can be written here, of v1 or v2."""
    places = hierarchies.make_places()
    on_v2 = hierarchies.controllers(places)
    hierarchies.remove(places)
    return {*places.v1, *on_v2}


@pytest.fixture(scope="module")
def controllers() -> set[str]:
    return _controllers()


def needs(controllers: set[str], name: str) -> None:
    if name not in controllers:
        pytest.skip(f"no writable cgroup controller {name} here")


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", script, *arguments]


BOMB = """
import os, sys, time
print("up", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
count = 0
while count < 400:
    try:
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
        count += 1
    except BlockingIOError:
        break
print(count, flush=True)
time.sleep(1000 if count < 400 else 0)
"""


async def forks(hold: Hold, attempt_id: str, gate: Path) -> int:
    """How many it could make. It begins when the supervisor, which counts while it starts it, has left its cgroup."""
    await hold.event("output", attempt_id)
    gate.touch()
    await until(lambda: hold.text(attempt_id).count(b"\n") == 2)
    return int(hold.text(attempt_id).split()[1])


async def test_a_fork_bomb_meets_its_limit_and_is_ended(hold: Hold, tmp_path: Path, controllers: set[str]) -> None:
    needs(controllers, "pids")
    token = uuid.uuid4().hex
    await hold.start("bomb", python(BOMB, str(tmp_path / "gate"), token), processes=20)
    assert await forks(hold, "bomb", tmp_path / "gate") == 19  # and itself
    assert len(with_token(token)) == 20
    beside = await hold.run("beside", "echo fine")  # another job forks as it likes
    assert beside.outcome.succeeded
    await hold.client.kill("bomb", "cancel")
    assert (await hold.end("bomb")).outcome.survivors == 0
    assert with_token(token) == []


async def test_the_runners_own_limit_holds_for_every_job(
    tmp_path: Path, make_hold: Callable[[Path], Hold], controllers: set[str]
) -> None:
    needs(controllers, "pids")
    hold = make_hold(tmp_path / "w")
    await hold.connect(job_processes=10)
    for asked in (0, 300):
        gate = tmp_path / f"gate{asked}"
        await hold.start(f"bomb{asked}", python(BOMB, str(gate)), processes=asked)
        assert await forks(hold, f"bomb{asked}", gate) == 9


async def test_steps_after_the_first_are_held_to_the_same_limit(
    hold: Hold, tmp_path: Path, controllers: set[str]
) -> None:
    needs(controllers, "pids")
    await hold.start("a", "sleep 1000 & exit 0", python(BOMB, str(tmp_path / "gate")), processes=10)
    assert await forks(hold, "a", tmp_path / "gate") == 8  # the sleep of the first step counts too


HOG = "import time; kept = bytearray(200 << 20); print(len(kept), flush=True)"


async def test_memory_over_the_limit_is_out_of_memory(hold: Hold, controllers: set[str]) -> None:
    needs(controllers, "memory")
    end = await hold.run("a", python(HOG), memory_bytes=64 * MIB)
    assert (end.outcome.kind, end.outcome.exit_code, end.outcome.signal) == (OutcomeKind.OUT_OF_MEMORY, None, None)
    assert str(64 * MIB) in end.outcome.message
    assert 32 * MIB < end.outcome.usage.peak_memory_bytes <= 64 * MIB
    assert end.outcome.unenforced_limits == ()


async def test_a_child_over_the_limit_counts_when_the_job_fails_of_it(hold: Hold, controllers: set[str]) -> None:
    needs(controllers, "memory")
    hog = f"{sys.executable} -I -S -c '{HOG}'"
    failed = await hold.run("a", f"{hog} || exit 3", memory_bytes=64 * MIB)
    assert failed.outcome.kind is OutcomeKind.OUT_OF_MEMORY
    coped = await hold.run("b", f"{hog} || echo coped", memory_bytes=64 * MIB)
    assert coped.outcome.succeeded
    assert hold.text("b") == b"coped\n"


@pytest.mark.parametrize("size", [1, 64 * 1024], ids=["a byte", "some pages"])
async def test_too_little_memory_to_start_in_ends_nobody_else(hold: Hold, controllers: set[str], size: int) -> None:
    """The supervisor is in the cgroup for the moment in which it starts the process."""
    needs(controllers, "memory")
    pid = hold.client.pid
    end = await hold.run("a", "echo here", memory_bytes=size)
    assert end.outcome.succeeded and end.outcome.usage.peak_memory_bytes <= 8 * MIB
    assert (await hold.run("b", python(HOG), memory_bytes=size)).outcome.kind is OutcomeKind.OUT_OF_MEMORY
    assert (hold.client.pid, alive(pid)) == (pid, True)


async def test_a_killed_job_with_room_for_more_is_not_out_of_memory(hold: Hold) -> None:
    end = await hold.run("a", "kill -9 $$", memory_bytes=64 * MIB)
    assert (end.outcome.kind, end.outcome.signal) == (OutcomeKind.SIGNALED, 9)


SPIN = """
import time
begun, used = time.monotonic(), time.process_time()
while time.process_time() - used < 0.2:
    pass
print(time.monotonic() - begun)
"""


async def test_a_job_gets_no_more_than_its_share_of_the_processors(hold: Hold, controllers: set[str]) -> None:
    needs(controllers, "cpu")
    await hold.run("a", python(SPIN), cpus=0.1)
    assert float(hold.text("a")) > 1.0  # 0.2 s of processor time at a tenth of one; a loaded machine only adds


class TestWithoutCgroups:
    @pytest.fixture
    def cgroup(self) -> bool:
        return False

    async def test_memory_is_limited_process_by_process(self, hold: Hold) -> None:
        end = await hold.run("a", python(HOG), memory_bytes=64 * MIB)
        assert end.outcome.exit_code == 1
        assert b"MemoryError" in hold.text("a", LogStream.STDERR)
        assert end.outcome.unenforced_limits == ()
        assert end.outcome.usage.peak_memory_bytes == 0

    async def test_what_nothing_enforces_is_said(self, hold: Hold) -> None:
        end = await hold.run("a", "true", cpus=0.5, processes=5)
        expected = ("cpus", "processes") if os.geteuid() == 0 else ("cpus",)
        assert end.outcome.unenforced_limits == expected


async def test_jobs_are_offered_to_the_oom_killer_before_the_service(hold: Hold) -> None:
    await hold.start("a", "read line; cat /proc/self/oom_score_adj", stdin="PIPE")
    await hold.event("started", "a")
    await hold.client.input("a", 0, inputs.data(b"go\n"))
    await hold.end("a")
    own = int(Path(f"/proc/{hold.client.pid}/oom_score_adj").read_text())
    assert int(hold.text("a")) > own


async def test_a_silent_job_runs_out_of_its_idle_budget(hold: Hold) -> None:
    end = await hold.run("a", "sleep 1000", idle_seconds=0.3)
    assert (end.outcome.kind, end.outcome.detail, end.outcome.step) == (OutcomeKind.TIMED_OUT, "idle", 0)


@pytest.mark.slow
async def test_a_job_that_goes_on_writing_does_not(hold: Hold) -> None:
    end = await hold.run("a", "for n in $(seq 36); do echo $n; sleep 0.2; done", idle_seconds=6.0)
    assert end.outcome.succeeded
    assert end.outcome.usage.wall_us > 6_000_000


FLOOD = "import os; [os.write(1, b'%07d\\n' % n * 128) for n in range(2000)]; os.write(2, b'done')"
"""2,000 KiB on one stream, then a word on the other."""


@pytest.fixture
async def small(tmp_path: Path, make_hold: Callable[[Path], Hold]) -> Hold:
    """With a spool of 256 KiB, of which nothing is acknowledged."""
    hold: Hold = make_hold(tmp_path / "small")
    await hold.connect(spool_limit_bytes=256 * 1024)
    return hold


@pytest.mark.parametrize(
    ("idle", "wait"), [(0.0, 0.3), pytest.param(4.0, 5, marks=pytest.mark.slow, id="to wait is not to be silent")]
)
async def test_at_the_spool_limit_a_job_waits_and_loses_nothing(small: Hold, idle: float, wait: float) -> None:
    await small.start("a", python(FLOOD), idle_seconds=idle)
    await until(lambda: len(small.journal("a")) >= 256 * 1024)
    size = len(small.journal("a"))
    await small.run("b", f"sleep {wait}", idle_seconds=0.0)
    assert len(small.journal("a")) - size <= 128 * 1024
    await small.client.acked("a", 1 << 30)
    while not any(event["event"] == "ended" for event in small.events if event.get("attempt_id") == "a"):
        await small.client.acked("a", 1 << 30)
    end = await small.end("a")
    assert end.outcome.succeeded
    assert end.seal.stdout_bytes == 2000 * 1024


async def test_at_the_spool_limit_a_job_may_choose_to_lose_its_middle(small: Hold) -> None:
    end = await small.run("a", python(FLOOD), spool_policy="DROP_MIDDLE")
    assert end.outcome.succeeded
    small.check_seal("a", end)
    records = small.records("a")
    (gap,) = [record for record in records if record.stream is LogStream.GAP]
    kept = small.text("a") + small.text("a", LogStream.STDERR)
    assert gap.gap_bytes + len(kept) == 2000 * 1024 + 4
    assert kept.startswith(b"0000000\n") and kept.endswith(b"done")


async def test_at_the_spool_limit_a_job_may_choose_to_fail(small: Hold) -> None:
    end = await small.run("a", python(FLOOD), spool_policy="FAIL")
    assert (end.outcome.kind, end.outcome.detail) == (OutcomeKind.INFRASTRUCTURE, "spool_full")


async def test_nothing_is_left_of_the_cgroups(hold: Hold, controllers: set[str]) -> None:
    needs(controllers, "pids")
    pid = f"runner-{hold.client.guard_pid}-"

    def mine() -> list[Path]:
        found = os.walk("/sys/fs/cgroup")  # Where those of others come and go meanwhile.
        return [Path(parent, name) for parent, names, _ in found for name in names if name.startswith(pid)]

    def cells() -> list[Path]:
        found = [path for place in mine() for path in (*place.iterdir(), *place.glob("jobs/*"))]
        return [path for path in found if path.is_dir() and path.name != "jobs"]

    for number in range(5):
        await hold.run(f"a{number}", "sleep 0.01 & true", memory_bytes=64 * MIB, cpus=1.0)
        await hold.client.forget(f"a{number}")
    await until(lambda: not cells())
    assert len(mine()) >= (1 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 3)
    for number in range(5):
        await hold.run(f"b{number}", "true")
        await hold.client.forget(f"b{number}")
    # Of attempts that asked for nothing one cell is left, empty, and each had it in its turn.
    (spare,) = cells()
    assert (spare / ("cgroup.threads" if spare.parent.name == "jobs" else "cgroup.procs")).read_text() == ""
    await hold.client.shutdown()
    await hold.gone()
    hold.connected = False
    assert mine() == []


async def test_times_of_a_year_are_no_problem(hold: Hold) -> None:
    year = 366 * 24 * 3600.0
    await hold.client.deadline(time.monotonic_ns() + int(year * 1e9))
    end = await hold.run("a", "echo here", timeout_seconds=year, idle_seconds=year)
    assert end.outcome.succeeded


@pytest.mark.slow
async def test_too_much_on_disk_ends_the_job(hold: Hold) -> None:
    end = await hold.run("a", "mkdir -p deep/er; head -c 3000000 /dev/zero > deep/er/file; sleep 1000", disk_bytes=MIB)
    assert (end.outcome.kind, end.outcome.survivors) == (OutcomeKind.OUT_OF_DISK, 0)
    assert end.outcome.message == f"it had more than {MIB} bytes on disk"
    assert end.outcome.unenforced_limits == ()


@pytest.mark.slow
async def test_a_job_within_its_disk_is_measured_more_than_once(hold: Hold) -> None:
    grows = "head -c 100000 /dev/zero > small; sleep 2.5; head -c 3000000 /dev/zero > large; sleep 1000"
    end = await hold.run("a", grows, disk_bytes=MIB)
    assert end.outcome.kind is OutcomeKind.OUT_OF_DISK


async def test_the_disk_of_others_is_held_against_nobody_and_that_is_said(hold: Hold, tmp_path: Path) -> None:
    end = await hold.run("a", "true", disk_bytes=MIB, working_directory=str(tmp_path))
    assert end.outcome.unenforced_limits == ("disk",)


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.fixture
def ice() -> Iterator[Path]:
    """A cgroup whose processes pass over KILL until it is thawed, as one that waits for a disk does."""
    place = FREEZER / f"runner-test-{os.getpid()}"
    try:
        place.mkdir()
    except OSError:
        pytest.skip("this needs a freezer of cgroups v1 that can be written")
    yield place
    (place / "freezer.state").write_text("THAWED")
    while (place / "cgroup.procs").read_text():
        time.sleep(0.01)
    place.rmdir()


@pytest.mark.slow
async def test_what_cannot_be_ended_is_counted_and_is_no_success(hold: Hold, ice: Path) -> None:
    await hold.start("a", "sleep 1000 & echo $!; read line", stdin="PIPE")
    async with asyncio.timeout(PATIENCE):
        while not (text := hold.text("a")).endswith(b"\n"):
            await hold.news()
    (ice / "cgroup.procs").write_text(text.decode())
    (ice / "freezer.state").write_text("FROZEN")
    await hold.client.input("a", 0, [inputs.END])
    outcome = (await hold.end("a")).outcome
    assert (outcome.kind, outcome.detail, outcome.survivors) == (OutcomeKind.TIMED_OUT, TimeBudget.KILL, 1)
    assert outcome.message == "it exited with 1, but left a process that cannot be ended"
