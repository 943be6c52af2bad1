"""Kill means empty, and nothing is ever waited for that somebody else holds."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from supervisor_rig import PATIENCE, Hold, alive, children, until, with_token

from runner_service.domain.outcomes import OutcomeKind
from runner_service.worker.supervisor import hierarchies, linux
from runner_service.worker.supervisor.paths import Layout


@pytest.fixture(params=[True, False], ids=["cgroup", "proc"])
def cgroup(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if WIPED:
                os.closerange(0, 64)
                os.chdir("/")
                os.execve("/bin/sleep", ["sleep", "1000." + TOKEN], {})
            time.sleep(1000)
        os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
if LEAVES:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.write(1, b"ready")
time.sleep(1000)
"""


def stubborn(token: str, *, wiped: bool = False, leaves: bool = False) -> list[str]:
    """Ignores TERM unless it ``leaves``, and so do its double-forked grandchildren in sessions of their own, which it
    no longer knows."""
    number = str(int(token, 16))
    script = STUBBORN.replace("TOKEN", repr(number)).replace("WIPED", str(wiped)).replace("LEAVES", str(leaves))
    return [sys.executable, "-I", "-S", "-c", script, number]


@pytest.fixture
def token() -> str:
    return uuid.uuid4().hex


@pytest.mark.parametrize(("wiped", "leaves"), [(False, False), (True, False), (True, True)])
async def test_a_cancel_leaves_no_process_whatever_they_did_to_hide(
    hold: Hold, token: str, wiped: bool, leaves: bool
) -> None:
    number = str(int(token, 16))
    await hold.start("a", stubborn(token, wiped=wiped, leaves=leaves), kill_grace_seconds=0.2)
    await hold.event("output", "a")
    await until(lambda: len(with_token(number)) == 4)
    await hold.client.kill("a", "cancel", "me")
    outcome = (await hold.end("a")).outcome
    assert (outcome.kind, outcome.detail, outcome.survivors) == (OutcomeKind.CANCELLED, "me", 0)
    assert with_token(number) == []


async def test_the_hidden_processes_of_two_jobs_at_once_are_told_apart(hold: Hold, token: str) -> None:
    other = uuid.uuid4().hex
    await hold.start("a", stubborn(token))
    await hold.start("b", stubborn(other))
    await hold.event("output", "a")
    await hold.event("output", "b")
    await until(lambda: len(with_token(str(int(other, 16)))) == 4)
    await hold.client.kill("a", "cancel")
    await hold.end("a")
    assert with_token(str(int(token, 16))) == []
    assert len(with_token(str(int(other, 16)))) == 4


async def test_term_comes_first_and_is_honoured(hold: Hold) -> None:
    await hold.start(
        "a", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done", kill_grace_seconds=PATIENCE
    )
    await hold.event("output", "a")
    await hold.client.kill("a", "cancel")
    outcome = (await hold.end("a")).outcome
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.CANCELLED, None)
    assert hold.text("a") == b"up\nbye\n"


async def test_a_stopped_process_hears_term(hold: Hold) -> None:
    await hold.start("a", "echo up; kill -STOP $$; sleep 1000", kill_grace_seconds=PATIENCE)
    await hold.event("output", "a")
    await hold.client.kill("a", "cancel")
    assert (await hold.end("a")).outcome.kind is OutcomeKind.CANCELLED


async def test_what_always_runs_is_not_interrupted_and_has_the_whole_grace(hold: Hold, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    cleanup = f"echo cleaning; until [ -e {gate} ]; do sleep 0.01; done; echo clean"
    await hold.start("a", "exit 3", cleanup, always=[1], kill_grace_seconds=1000)
    await until(lambda: hold.text("a") == b"cleaning\n")
    await hold.client.kill("a", "cancel")
    gate.touch()
    outcome = (await hold.end("a")).outcome
    assert (outcome.kind, outcome.step, outcome.step_codes) == (OutcomeKind.CANCELLED, 1, (3, 0))
    assert hold.text("a") == b"cleaning\nclean\n"


async def test_a_timeout_is_followed_by_what_always_runs_and_a_hurry_ends_that(hold: Hold) -> None:
    steps = ("sleep 1000", "echo no", "echo cleaning; sleep 1000", "echo never")
    await hold.start("a", *steps, always=[2, 3], timeout_seconds=0.1, kill_grace_seconds=1000)
    await until(lambda: hold.text("a") == b"cleaning\n")
    await hold.client.hurry()
    end = await hold.end("a")
    outcome = end.outcome
    assert (outcome.kind, outcome.step, outcome.step_codes) == (OutcomeKind.TIMED_OUT, 0, (143, -1, 137, -1))
    assert hold.text("a") == b"cleaning\n"
    hold.check_seal("a", end)


async def test_what_cannot_start_ends_no_clean_up(hold: Hold) -> None:
    await hold.start("a", "sleep 1000", ["no-such-command"], "echo clean", always=[1, 2], kill_grace_seconds=1000)
    await hold.event("started", "a")
    await hold.client.kill("a", "cancel")
    outcome = (await hold.end("a")).outcome
    assert (outcome.kind, outcome.step, outcome.step_codes) == (OutcomeKind.CANCELLED, 0, (143, -1, 0))
    assert hold.text("a") == b"clean\n"


@pytest.mark.slow
async def test_half_of_the_grace_is_left_to_what_always_runs(hold: Hold, token: str) -> None:
    number = str(int(token, 16))
    await hold.start("a", stubborn(token), "echo clean", always=[1], kill_grace_seconds=12)
    await until(lambda: len(with_token(number)) == 4)
    await hold.client.kill("a", "cancel")
    outcome = (await hold.end("a")).outcome
    assert (outcome.kind, outcome.survivors, outcome.step_codes) == (OutcomeKind.CANCELLED, 0, (137, 0))
    assert (hold.text("a"), with_token(number)) == (b"readyclean\n", [])


@pytest.fixture
def contain() -> Iterator[Callable[[Hold], None]]:
    """Bounds what a supervisor and its jobs can do to the machine, in a way that they do not know of."""
    places = hierarchies.make_places()
    if "pids" not in (*places.v1, *hierarchies.controllers(places)):
        hierarchies.remove(places)
        pytest.skip("no writable cgroup controller pids here to bound a fork bomb with")
    cgroup = Path(places.v1.get("pids") or f"{places.unified}/jobs")
    above = Path(places.v1.get("pids") or places.unified).parent

    def put(hold: Hold) -> None:
        # One that has cells on v2 can make them where it is, and not be moved.
        own = Path("/sys/fs/cgroup", Path(f"/proc/{hold.client.pid}/cgroup").read_text().rpartition("::/")[2].strip())
        if (own.parent / "jobs" / "pids.max").exists():
            (own.parent / "pids.max").write_text("1000")
            return
        (cgroup / "pids.max").write_text("1000")
        for pid in (hold.client.guard_pid, hold.client.pid):
            (cgroup / "cgroup.procs").write_text(str(pid))

    yield put
    for pid in (cgroup / "cgroup.procs").read_text().split():  # whatever is left in there must not keep it
        with suppress(ProcessLookupError):  # It has just ended.
            (above / "cgroup.procs").write_text(pid)
    assert hierarchies.remove(places)


HOPPING = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(6):
    os.fork()
os.write(1, b"x")
while True:
    try:
        if os.fork():
            os._exit(0)
        os.setsid()
    except BlockingIOError:
        pass
"""


async def test_a_tree_that_forks_faster_than_one_can_look_is_ended(
    hold: Hold, token: str, contain: Callable[[Hold], None]
) -> None:
    """64 processes, each of which is another a moment later, without end; how many there can be is bounded."""
    contain(hold)
    await hold.start("a", [sys.executable, "-I", "-S", "-c", HOPPING, token], processes=500)
    await hold.event("output", "a")
    await hold.client.kill("a", "cancel")
    assert (await hold.end("a")).outcome.survivors == 0
    assert with_token(token) == []


async def test_a_timeout_does_not_wait_for_a_grandchild_that_holds_the_pipe(hold: Hold, token: str) -> None:
    end = await hold.run(  # Which does not wait for the 1,000 s of the sleep.
        "a", f"setsid sh -c 'trap \"\" TERM; sleep 1000; : {token}' & echo up; sleep 1000", timeout_seconds=0.3
    )
    assert (end.outcome.kind, end.outcome.detail) == (OutcomeKind.TIMED_OUT, "run")
    assert with_token(token) == []


async def test_the_timeout_is_for_all_steps_together(hold: Hold) -> None:
    end = await hold.run("a", "sleep 0.4", "sleep 0.4", "sleep 0.4", timeout_seconds=0.6)
    assert end.outcome.kind is OutcomeKind.TIMED_OUT  # None of them alone takes that long.


async def test_completion_does_not_wait_for_a_grandchild_that_holds_the_pipe(hold: Hold, token: str) -> None:
    end = await hold.run("a", f"(setsid sh -c 'sleep 1000; : {token}' &) ; echo done; exit 4")
    assert (end.outcome.kind, end.outcome.exit_code, end.outcome.survivors) == (OutcomeKind.EXITED, 4, 0)
    assert hold.text("a") == b"done\n"
    assert with_token(token) == []


async def test_what_the_shell_leaves_behind_may_finish_its_last_words(hold: Hold) -> None:
    for number in range(20):  # It has a moment, for which a machine may be too busy, but not always.
        name = f"a{number}"
        await hold.run(name, ["bash", "-c", "echo through | tee >(sleep 0.02; cat >&2) > /dev/null; exit 0"])
        if b"".join(record.data for record in hold.records(name)) == b"through\n":
            return
    pytest.fail("never was it let finish")


async def test_a_kill_after_the_end_and_of_the_unknown_changes_nothing(hold: Hold) -> None:
    await hold.client.kill("unknown", "cancel")
    await hold.run("a", "exit 3")
    await hold.client.kill("a", "cancel")
    known = {one.attempt_id: one for one in await hold.client.hello()}
    assert known["a"].outcome is not None and known["a"].outcome["exit_code"] == 3


async def test_a_deadline_ends_the_tree_without_any_worker(hold: Hold, token: str) -> None:
    await hold.start("a", stubborn(token))
    await hold.event("output", "a")
    await hold.client.deadline(time.monotonic_ns() + 200_000_000)
    await hold.client.close()
    await until(lambda: with_token(str(int(token, 16))) == [])
    known = await hold.connect()
    if known["a"].outcome is None:
        outcome = (await hold.end("a")).outcome
        assert (outcome.kind, outcome.detail) == (OutcomeKind.LOST, "self_stop")
    else:
        assert (known["a"].outcome["kind"], known["a"].outcome["detail"]) == ("LOST", "self_stop")


@pytest.mark.slow
async def test_a_deadline_that_is_renewed_or_taken_away_does_not_pass(hold: Hold) -> None:
    await hold.start("a", "sleep 6; echo survived")
    await hold.start("b", "sleep 6; echo survived")
    await hold.client.deadline(time.monotonic_ns() + 5_000_000_000)
    await hold.client.deadline(time.monotonic_ns() + 1_000_000_000_000)
    await hold.client.deadline(time.monotonic_ns() + 5_000_000_000, "b")
    await hold.client.deadline(None, "b")
    assert (await hold.end("a")).outcome.succeeded
    assert (await hold.end("b")).outcome.succeeded


async def test_one_attempts_own_deadline_leaves_the_others_alone(hold: Hold) -> None:
    await hold.start("a", "sleep 1000")
    await hold.start("b", "sleep 1000")
    await hold.client.deadline(time.monotonic_ns() + 50_000_000, "a")
    assert (await hold.end("a")).outcome.detail == "self_stop"
    assert [one.attempt_id for one in await hold.client.hello() if one.outcome is None] == ["b"]


async def test_nothing_is_left_over_after_many_jobs(hold: Hold) -> None:
    """No descriptor but those of the cells that are kept for the next, no zombie, no file."""

    def descriptors(*, of_cells: bool = False) -> int:
        opened = [linux.link(str(path)) for path in Path(f"/proc/{hold.client.pid}/fd").iterdir()]
        return sum(path.startswith("/sys/fs/cgroup/") is of_cells for path in opened)

    async def one(number: int) -> None:
        attempt_id = f"a{number}"
        await hold.run(attempt_id, "echo x; (sleep 0.001 &); true", ["true"] if number % 2 else ["nope"])
        await hold.client.forget(attempt_id)

    homes = descriptors(of_cells=True)
    await one(0)
    before = descriptors()
    for batch in range(10):
        await asyncio.gather(*(one(1 + batch * 20 + number) for number in range(20)))
    await until(lambda: descriptors() <= before)
    assert descriptors(of_cells=True) <= homes + 20 * 3
    await until(lambda: not [child for child in children(hold.client.pid) if child[1] == "Z"])
    layout = Layout(str(hold.directory))
    assert list(Path(layout.spool).iterdir()) == []
    assert [path.name for path in Path(layout.work).iterdir() if not path.name.startswith(".spare-")] == []
    assert alive(hold.client.pid)


async def test_what_is_started_after_the_deadline_does_not_run(hold: Hold, tmp_path: Path) -> None:
    await hold.client.deadline(time.monotonic_ns() - 1)
    late = await hold.run("a", f"touch {tmp_path}/ran")
    assert (late.outcome.kind, late.outcome.detail) == (OutcomeKind.LOST, "self_stop")
    assert not (tmp_path / "ran").exists()
    await hold.client.deadline(time.monotonic_ns() + 60_000_000_000)
    assert (await hold.run("b", "true")).outcome.succeeded


@pytest.mark.slow
async def test_a_long_grace_does_not_outlast_what_the_server_counts_on(hold: Hold, token: str) -> None:
    await hold.start("a", f"trap '' TERM; echo up; while :; do sleep 1; done; : {token}", kill_grace_seconds=3600)
    await hold.event("output", "a")
    await hold.client.deadline(time.monotonic_ns())
    outcome = (await hold.end("a")).outcome
    assert (outcome.kind, outcome.detail, outcome.survivors) == (OutcomeKind.LOST, "self_stop", 0)
    assert with_token(token) == []
