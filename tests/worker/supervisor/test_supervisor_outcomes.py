"""How an attempt ends, told apart."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from supervisor_rig import Hold

from runner_service.domain.logs import LogStream
from runner_service.domain.outcomes import OutcomeKind, RefusedReason


@pytest.mark.parametrize("code", [0, 1, 42, 137, 255])
async def test_an_exit_code_is_told_as_it_is(hold: Hold, code: int) -> None:
    outcome = (await hold.run("a", f"exit {code}")).outcome
    assert (outcome.kind, outcome.exit_code, outcome.signal) == (OutcomeKind.EXITED, code, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_signal_of_its_own_is_not_an_exit_code(hold: Hold, number: signal.Signals) -> None:
    outcome = (await hold.run("a", f"kill -{number.value} $$")).outcome
    assert (outcome.kind, outcome.exit_code, outcome.signal) == (OutcomeKind.SIGNALED, None, number)


async def test_usage_is_measured(hold: Hold) -> None:
    usage = (await hold.run("a", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")).outcome.usage
    assert usage.wall_us > usage.cpu_us // 2 > 0
    assert usage.max_rss_bytes > 100_000


async def test_a_command_is_found_by_the_jobs_own_path(hold: Hold, tmp_path: Path) -> None:
    tool = tmp_path / "greet"
    tool.write_text("#!/bin/sh\necho hello from $0\n")
    tool.chmod(0o755)
    await hold.run("a", ["greet"], environment={"PATH": str(tmp_path)})
    assert hold.text("a") == f"hello from {tool}\n".encode()


async def test_a_relative_command_is_relative_to_the_working_directory(hold: Hold, tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "run.sh").chmod(0o755)
    await hold.run("a", ["./run.sh"], working_directory=str(tmp_path))
    assert hold.text("a") == f"{tmp_path}\n".encode()


@pytest.mark.parametrize(
    ("argv", "plan", "reason", "message"),
    [
        (["nope"], {}, "COMMAND_NOT_FOUND", 'exec: "nope": executable file not found in $PATH'),
        (["./nope"], {}, "COMMAND_NOT_FOUND", 'exec: "./nope": executable file not found in $PATH'),
        ([""], {}, "COMMAND_NOT_FOUND", 'exec: "": executable file not found in $PATH'),
        (["/etc/passwd"], {}, "COMMAND_NOT_EXECUTABLE", 'exec: "/etc/passwd": permission denied'),
        (["/etc"], {}, "COMMAND_NOT_EXECUTABLE", 'exec: "/etc": permission denied'),
        (
            ["true"],
            {"working_directory": "/no/such"},
            "WORKING_DIRECTORY",
            "chdir /no/such: no such file or directory",
        ),
        (
            ["true"],
            {"working_directory": "/etc/passwd"},
            "WORKING_DIRECTORY",
            "chdir /etc/passwd: not a directory",
        ),
        (["true", "x" * 200_000], {}, "TOO_LARGE", 'exec: "true": argument list too long'),
    ],
)
async def test_what_cannot_start_is_refused_with_the_reason(
    hold: Hold, argv: list[str], plan: dict[str, str], reason: str, message: str
) -> None:
    outcome = (await hold.run("a", argv, **plan)).outcome
    assert (outcome.kind, outcome.detail, outcome.message) == (OutcomeKind.REFUSED, RefusedReason(reason), message)
    assert not any(event["event"] == "started" for event in hold.events)


async def test_a_file_without_an_interpreter_is_refused(hold: Hold, tmp_path: Path) -> None:
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n")
    (tmp_path / "orphan").chmod(0o755)
    outcome = (await hold.run("a", [str(tmp_path / "orphan")])).outcome
    assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, RefusedReason.COMMAND_NOT_FOUND)


async def test_what_no_kernel_takes_is_a_fault_of_the_runner_not_a_crash(hold: Hold) -> None:
    outcome = (await hold.run("a", ["true", "nul\0inside"])).outcome
    assert (outcome.kind, outcome.detail) == (OutcomeKind.INFRASTRUCTURE, "start")


async def test_steps_run_in_order_in_one_directory_until_one_fails(hold: Hold) -> None:
    outcome = (await hold.run("a", "echo 1 > f; echo one", "cat f >&2; exit 9", "echo never")).outcome
    assert (outcome.exit_code, outcome.step) == (9, 1)
    assert (hold.text("a"), hold.text("a", LogStream.STDERR)) == (b"one\n", b"1\n")


async def test_a_refused_later_step_says_which(hold: Hold) -> None:
    outcome = (await hold.run("a", "echo one", ["nope"])).outcome
    assert (outcome.kind, outcome.step) == (OutcomeKind.REFUSED, 1)
    assert hold.text("a") == b"one\n"


async def test_a_background_process_lives_on_in_the_next_step_and_not_beyond(hold: Hold) -> None:
    end = await hold.run("a", "sleep 1000 & echo $! > pid", "kill -0 $(cat pid) && echo alive")
    assert (hold.text("a"), end.outcome.exit_code, end.outcome.survivors) == (b"alive\n", 0, 0)


async def test_each_attempt_has_an_empty_directory_of_its_own(hold: Hold) -> None:
    await hold.run("a", "touch left-over; pwd")
    await hold.client.forget("a")
    await hold.run("b", "ls -A; touch x; pwd")
    assert hold.text("b").decode() == f"{hold.directory}/work/b\n"
    await hold.client.forget("b")
    assert not (hold.directory / "work" / "b").exists()


async def test_a_process_gets_what_it_is_given_and_nothing_else(hold: Hold) -> None:
    end = await hold.run("a", "env -u PWD -u SHLVL -u _; ls -l /proc/self/fd | wc -l; umask; ps -o nice= -p $$; cat")
    text = hold.text("a").decode().split("\n")
    assert sorted(text[:3]) == ["HOME=/", f"PATH={os.environ['PATH']}", "RUNNER_ATTEMPT_ID=a"]
    # stdin, stdout, stderr, the directory that ls reads, and ls's line "total".
    assert [line.strip() for line in text[3:]] == ["5", "0022", "0", ""]
    assert end.outcome.succeeded


async def test_a_job_does_not_inherit_ignored_signals(hold: Hold) -> None:
    await hold.run("a", ["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"])
    blocked, ignored = (int(line.split()[1], 16) for line in hold.text("a").splitlines())
    internal = 1 << 31 | 1 << 32  # glibc's own two, which its posix_spawn leaves ignored and its start-up code resets.
    assert (blocked, ignored & ~internal) == (0, 0)


async def test_each_job_leads_a_session_of_its_own(hold: Hold) -> None:
    await hold.run("a", ["/bin/sh", "-c", "cut -d' ' -f1,5,6 /proc/$$/stat"])
    assert len(set(hold.text("a").split())) == 1
