"""Who may die when, and what the others make of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from supervisor_rig import PATIENCE, Hold, alive, kill9, until, with_token

import runner_service
from runner_service.domain.outcomes import OutcomeKind
from runner_service.worker.supervisor import wire
from runner_service.worker.supervisor.client import Client, SupervisorGone, SupervisorRefused
from runner_service.worker.supervisor.paths import Layout, socket_path
from runner_service.worker.supervisor.wire import Plan

MakeHold = Callable[[Path], Hold]
WORKER = """
import asyncio, os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from supervisor_rig import Hold
async def main():
    hold = Hold(Path(sys.argv[1]))
    await hold.connect()
    await hold.start("a", sys.argv[2])
    await hold.event("output", "a")
    print(os.getpid(), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
def token() -> str:
    return uuid.uuid4().hex


async def test_a_worker_is_killed_and_another_adopts_its_jobs(tmp_path: Path, make_hold: MakeHold) -> None:
    """The log is complete and the exit code is the true one."""
    directory = tmp_path / "worker"
    (tmp_path / "data").write_bytes(os.urandom(3_000_000))
    script = f"printf up; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; cat {tmp_path}/data; exit 7"
    source = WORKER.format(path=[*sys.path, str(Path(__file__).parent)])
    worker = subprocess.Popen([sys.executable, "-c", source, str(directory), script], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    await asyncio.to_thread(worker.stdout.readline)
    kill9(worker.pid)
    worker.wait()
    worker.stdout.close()
    (tmp_path / "go").touch()
    heir = make_hold(directory)
    known = await heir.connect()
    if known["a"].state == wire.ENDED:
        assert known["a"].outcome is not None and known["a"].outcome["exit_code"] == 7
    else:
        end = await heir.end("a")
        assert (end.outcome.kind, end.outcome.exit_code) == (OutcomeKind.EXITED, 7)
        heir.check_seal("a", end)
    assert heir.text("a") == b"up" + (tmp_path / "data").read_bytes()


async def test_a_supervisor_that_is_killed_takes_its_jobs_with_it_and_the_next_says_so(hold: Hold, token: str) -> None:
    await hold.start("done", "echo over; exit 3", fence=4)
    await hold.end("done")
    await hold.start("lost", f"(setsid sh -c 'trap \"\" TERM; sleep 1000; : {token}' &); echo up; sleep 1000", fence=9)
    await hold.event("output", "lost")
    first = hold.client.pid
    kill9(first)
    await hold.gone()
    assert with_token(token) == []  # Its guard saw to that, without a worker's help.
    known = await hold.connect()
    assert hold.client.pid != first
    assert (known["done"].fence, known["done"].outcome and known["done"].outcome["exit_code"]) == (4, 3)
    lost = known["lost"]
    assert (lost.state, lost.fence) == (wire.ENDED, 9)
    assert lost.outcome is not None
    assert (lost.outcome["kind"], lost.outcome["detail"]) == ("LOST", "supervisor_died")
    assert hold.text("lost") == b"up\n"
    assert lost.size == len(hold.journal("lost"))


# A supervisor that starts behind a killed one ends all on the machine that bears the name of an attempt of its spool:
# here they have names that no test beside this one uses.
@pytest.mark.parametrize("cgroup", [True, False], ids=["cgroup", "proc"])
async def test_when_the_guard_is_killed_too_the_next_supervisor_ends_what_is_left(hold: Hold, token: str) -> None:
    await hold.start("left", f"(setsid sh -c 'trap \"\" TERM; sleep 1000; : {token}' &); echo up; sleep 1000")
    await hold.event("output", "left")
    kill9(hold.client.guard_pid)
    assert alive(hold.client.pid)
    kill9(hold.client.pid)
    await hold.gone()
    assert with_token(token) != []
    known = await hold.connect()
    assert with_token(token) == []
    assert known["left"].outcome is not None and known["left"].outcome["detail"] == "supervisor_died"


async def test_after_a_reboot_what_ran_is_lost_by_it(hold: Hold) -> None:
    await hold.start("rebooted", "echo up; sleep 1000")
    await hold.event("output", "rebooted")
    kill9(hold.client.pid)
    await hold.gone()
    index = Path(Layout(str(hold.directory)).index)
    index.write_text(index.read_text().replace(hold.client.boot_id, "another-boot"))
    known = await hold.connect()
    assert known["rebooted"].outcome is not None and known["rebooted"].outcome["detail"] == "machine_rebooted"


async def test_ended_attempts_outlive_an_orderly_exit_until_they_are_forgotten(hold: Hold) -> None:
    end = await hold.run("a", "echo hello; exit 5")
    await hold.run("b", "true")
    await hold.client.forget("b")
    await hold.client.close()
    await hold.gone()  # Idle: no live attempt, no worker.
    known = await hold.connect()
    assert list(known) == ["a"]
    assert known["a"].seal is not None and known["a"].seal["sha256"] == end.seal.sha256.hex()
    assert hold.text("a") == b"hello\n"


async def test_without_a_worker_live_jobs_keep_it_from_exiting(tmp_path: Path, make_hold: MakeHold) -> None:
    hold = make_hold(tmp_path / "worker")
    await hold.connect(idle_exit_seconds=0.05)
    await hold.start("a", f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; exit 6")
    await hold.client.close()
    await asyncio.sleep(0)
    pid = hold.client.pid
    known = await hold.connect()
    assert (hold.client.pid, known["a"].state) == (pid, wire.RUNNING)
    await hold.client.close()
    (tmp_path / "go").touch()
    await hold.gone()
    known = await hold.connect()
    assert known["a"].outcome is not None and known["a"].outcome["exit_code"] == 6


async def test_there_is_one_supervisor_per_directory(hold: Hold) -> None:
    main = Path(runner_service.__file__).parent / "worker" / "supervisor" / "__main__.py"
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(main), "--directory", str(hold.directory), stderr=asyncio.subprocess.PIPE
    )
    _, error = await second.communicate()
    assert second.returncode == 3
    assert error.decode() == f"another supervisor has {hold.directory}\n"
    assert (await hold.run("a", "true")).outcome.succeeded


@pytest.mark.parametrize("arguments", [[], ["--directory"], ["--directory", "x", "--what", "y"], ["--idle-exit", "z"]])
async def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    main = Path(runner_service.__file__).parent / "worker" / "supervisor" / "__main__.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(main), *arguments, stderr=asyncio.subprocess.PIPE
    )
    await process.communicate()
    assert process.returncode == 2


async def test_many_workers_that_connect_at_once_meet_one_supervisor(tmp_path: Path) -> None:
    directory = str(tmp_path / "worker")
    clients = await asyncio.gather(*(Client.connect(directory, lambda _: None) for _ in range(5)))
    for client in clients:
        try:
            await client.hello()
        except SupervisorGone:
            pass
    assert len({client.pid for client in clients}) == 1
    await clients[-1].shutdown()
    await asyncio.gather(*(client.close() for client in clients))
    await until(lambda: not alive(clients[0].pid))


async def test_sigterm_ends_the_jobs_then_the_supervisor(hold: Hold, token: str) -> None:
    script = f"trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.01; done; : {token}"
    await hold.start("a", script, kill_grace_seconds=PATIENCE)
    await hold.event("output", "a")
    (await asyncio.create_subprocess_exec("kill", str(hold.client.guard_pid)))
    end = await hold.end("a")
    assert (end.outcome.kind, end.outcome.detail) == (OutcomeKind.CANCELLED, "shutdown")
    await hold.gone()
    assert hold.text("a") == b"up\nbye\n"
    assert with_token(token) == []


async def test_a_stopping_supervisor_starts_nothing(hold: Hold) -> None:
    await hold.start("a", "trap '' TERM; echo up; while :; do sleep 0.01; done", kill_grace_seconds=1000)
    await hold.event("output", "a")
    await hold.client.shutdown()
    with pytest.raises(SupervisorRefused) as refused:
        await hold.start("b", "true")
    assert refused.value.code == wire.STOPPING
    await hold.client.hurry()
    await hold.gone()


async def test_requests_that_make_no_sense_are_refused_and_harm_nothing(hold: Hold) -> None:
    for attempt_id in ("", "../x", "a/b", "ü", "x" * 200):
        with pytest.raises(SupervisorRefused) as refused:
            await hold.start(attempt_id, "true")
        assert refused.value.code == wire.INVALID
    with pytest.raises(SupervisorRefused):
        await hold.client._request("dance")
    with pytest.raises(SupervisorRefused):
        await hold.client._request("start", attempt_id="a")
    assert await hold.client.hello() == []


async def test_a_peer_that_talks_nonsense_is_cut_off_and_the_worker_stays(hold: Hold) -> None:
    reader, writer = await asyncio.open_unix_connection(socket_path(str(hold.directory)))
    writer.write(b"\xff\xff\xff\xffGET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    assert (await hold.run("a", "true")).outcome.succeeded


async def test_whoever_asks_before_its_hello_or_after_the_next_one_starts_nothing(
    hold: Hold, make_hold: MakeHold
) -> None:
    plan = Plan([["true"]], {})
    stranger = await Client.connect(str(hold.directory), lambda event: None)
    with pytest.raises(SupervisorGone):
        await stranger.start("a", 1, plan)
    assert await hold.client.hello() == []
    # As if a worker were killed right after its request: it is with the supervisor before the next hello, or never.
    heir = await Client.connect(str(hold.directory), lambda event: None)
    known, late = await asyncio.gather(heir.hello(), hold.client.start("b", 1, plan), return_exceptions=True)
    assert isinstance(known, list)
    assert known == [] if isinstance(late, SupervisorGone) else [one.attempt_id for one in known] == ["b"]
    assert len(await heir.hello()) == len(known)
    await heir.close()
    await hold.connect()


async def test_a_long_path_falls_back_to_a_short_private_socket(tmp_path: Path, make_hold: MakeHold) -> None:
    hold = make_hold(tmp_path / ("x" * 100) / "worker")
    await hold.connect()
    assert len(socket_path(str(hold.directory))) < 107
    assert Path(socket_path(str(hold.directory))).parent.stat().st_mode & 0o777 == 0o700
    assert (await hold.run("a", "true")).outcome.succeeded


async def test_the_directory_is_private(hold: Hold) -> None:
    await hold.run("a", "echo secret")
    for path in [hold.directory, *hold.directory.rglob("*")]:
        if path.is_dir():
            assert path.stat().st_mode & 0o077 == 0
    assert Path(hold.client.journal("a")).stat().st_mode & 0o077 == 0


async def test_the_supervisor_knows_nothing_of_the_workers_environment(
    tmp_path: Path, make_hold: MakeHold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_STORE_URL", "postgresql://secret")
    hold = make_hold(tmp_path / "worker")
    await hold.connect()
    for pid in (hold.client.pid, hold.client.guard_pid):
        assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize(
    ("cleanup", "code", "kept"),
    [
        ("always", 0, False),
        ("always", 1, False),
        ("on_success", 0, False),
        ("on_success", 1, True),
        ("on_failure", 0, True),
        ("on_failure", 1, False),
        ("never", 0, True),
        ("never", 1, True),
    ],
)
async def test_a_directory_is_kept_as_the_cleanup_policy_says(hold: Hold, cleanup: str, code: int, kept: bool) -> None:
    await hold.run("a", f"echo left > file; exit {code}", cleanup=cleanup)
    await hold.client.forget("a")
    work, place = hold.directory / "work" / "a", hold.directory / "kept" / "a" / "file"
    await until(lambda: not work.exists())
    assert place.exists() is kept


async def test_it_has_ended_when_its_guard_has(hold: Hold) -> None:
    guard = hold.client.guard_pid
    os.kill(guard, signal.SIGSTOP)
    try:
        ending = asyncio.create_task(hold.client.end())
        await asyncio.wait((hold.client.lost,))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not ending.done(), "it cleans up behind its supervisor, and then exits"
    finally:
        os.kill(guard, signal.SIGCONT)
    await asyncio.wait_for(ending, 60)
    assert not alive(guard)


async def test_it_has_ended_without_a_guard_that_was_killed(hold: Hold) -> None:
    kill9(hold.client.guard_pid)
    await asyncio.wait_for(hold.client.end(), 60)
    await until(lambda: not alive(hold.client.pid))
