"""contract/sct.md §6: how commands end, and what is shown of their output while they run and afterwards."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from sct_server import Job, Sct, until

NOT_FOUND = 'failed to start command: exec: "{}": executable file not found in $PATH'

ENDINGS = [
    pytest.param("exit 0", {"status": "completed", "exit_code": 0}, id="s6: exit 0"),
    pytest.param("exit 7", {"status": "failed", "exit_code": 7, "error": "exit status 7"}, id="s6: exit n"),
    pytest.param(
        "echo out; echo err >&2; exit 255",
        {"status": "failed", "exit_code": 255, "error": "exit status 255", "stdout": "out\n", "stderr": "err\n"},
        id="s6: exit n with output",
    ),
    pytest.param(
        "echo err >&2; kill -9 $$",
        {"status": "failed", "exit_code": -1, "error": "signal: killed", "stderr": "err\n"},
        id="s6: killed by SIGKILL",
    ),
    pytest.param("kill $$", {"status": "failed", "exit_code": -1, "error": "signal: terminated"}, id="s6: SIGTERM"),
    pytest.param(
        "kill -SEGV $$",
        {"status": "failed", "exit_code": -1, "error": "signal: segmentation fault"},
        id="s6: SIGSEGV",
    ),
    pytest.param(
        "exit 137",
        {"status": "failed", "exit_code": 137, "error": "exit status 137"},
        id="s6: the shell's own 137",
    ),
]


@pytest.mark.parametrize(("script", "expected"), ENDINGS)
def test_an_ending(sct: Sct, script: str, expected: dict[str, Any]) -> None:
    job = sct.run(script)
    assert {name: job.get(name) for name in expected} == expected
    assert {"stdout", "stderr", "error"} & set(job) <= {*expected, "error"}


@pytest.mark.parametrize("command", ["no-such-command", "/no/such/command", "a b"])
def test_a_command_that_is_not_found(sct: Sct, command: str) -> None:
    job = sct.ended(sct.submit(command))
    assert (job["status"], job["exit_code"], job["error"]) == ("failed", -1, NOT_FOUND.format(command))
    assert not {"stdout", "stderr"} & set(job)


def test_a_command_that_is_no_program(sct: Sct) -> None:
    job = sct.ended(sct.submit("/etc/passwd"))
    expected = 'failed to start command: exec: "/etc/passwd": permission denied'
    assert (job["status"], job["exit_code"], job["error"]) == ("failed", -1, expected)


def test_a_working_dir_that_is_none(sct: Sct) -> None:
    job = sct.ended(sct.submit("true", working_dir="/no/such/place"))
    expected = "failed to start command: chdir /no/such/place: no such file or directory"
    assert (job["status"], job["exit_code"], job["error"]) == ("failed", -1, expected)
    assert not {"stdout", "stderr"} & set(job)


def test_there_is_no_input(sct: Sct) -> None:
    assert sct.run("readlink /proc/self/fd/0; cat; echo done")["stdout"] == "/dev/null\ndone\n"


def test_duration_is_from_start_to_end(sct: Sct) -> None:
    assert 200 <= sct.run("sleep 0.2")["duration_ms"] < 60_000


# Output while it runs


def gated(*steps: str) -> str:
    """A script that does a step each time the test opens the next gate (a file in its folder)."""
    return "; ".join(f"{step}; while [ ! -e {number} ]; do sleep 0.01; done" for number, step in enumerate(steps))


def test_output_grows_while_the_command_runs_and_only_grows(sct: Sct, tmp_path: Path) -> None:
    job_id = sct.sh(gated("echo one; echo eins >&2", "echo two", "echo drei >&2"), working_dir=str(tmp_path))
    seen: list[Job] = []

    def shows(stdout: str, stderr: str) -> None:
        def look() -> bool:
            seen.append(sct.job(job_id))
            return (seen[-1].get("stdout", ""), seen[-1].get("stderr", "")) == (stdout, stderr)

        until(look, stdout + stderr)
        assert seen[-1]["status"] == "running"
        assert "exit_code" not in seen[-1] and "completed_at" not in seen[-1]

    shows("one\n", "eins\n")
    (tmp_path / "0").touch()
    shows("one\ntwo\n", "eins\n")
    (tmp_path / "1").touch()
    shows("one\ntwo\n", "eins\ndrei\n")
    (tmp_path / "2").touch()
    seen.append(sct.ended(job_id))
    assert seen[-1]["status"] == "completed"
    for name in ("stdout", "stderr"):
        shown = [job.get(name, "") for job in seen]
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))


def test_a_line_without_its_end_is_shown(sct: Sct, tmp_path: Path) -> None:
    job_id = sct.sh(gated("printf 'Password: '"), working_dir=str(tmp_path))
    assert sct.wrote(job_id, "Password: ")["status"] == "running"
    (tmp_path / "0").touch()
    assert sct.ended(job_id)["stdout"] == "Password: "


def test_half_a_character_waits_for_its_other_half(sct: Sct, tmp_path: Path) -> None:
    script = gated(r"printf 'a\303'", r"printf '\244\377'; printf '\342' >&2")
    job_id = sct.sh(script, working_dir=str(tmp_path))
    assert sct.wrote(job_id, "a")["stdout"] == "a"
    (tmp_path / "0").touch()
    assert sct.wrote(job_id, "ä")["stdout"] == "aä\N{REPLACEMENT CHARACTER}"
    (tmp_path / "1").touch()
    job = sct.ended(job_id)
    assert (job["stdout"], job["stderr"]) == ("aä\N{REPLACEMENT CHARACTER}", "\N{REPLACEMENT CHARACTER}")


def test_bytes_that_are_no_text_are_shown_as_replacement_characters(sct: Sct) -> None:
    job = sct.run(r"printf 'a\000b\033[0m\r\n\377\376end'")
    assert job["stdout"] == "a\0b\x1b[0m\r\n\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}end"


def test_over_the_limit_the_head_stays_and_the_tail_comes_at_the_end(sct: Sct, tmp_path: Path) -> None:
    # The limit of this server is 1 MiB, the tail beyond is 1 MiB.
    script = gated("yes 0123456789abcde | head -c 4000000; echo end; echo written >&2")
    job_id = sct.sh(script, working_dir=str(tmp_path))
    running = sct.when(job_id, lambda job: "written" in job.get("stderr", ""), "the last line")
    assert running["status"] == "running"
    assert len(running["stdout"]) == 1 << 20
    (tmp_path / "0").touch()
    stdout = sct.ended(job_id)["stdout"]
    assert stdout.startswith(running["stdout"]) and stdout.endswith("end\n")
    assert "bytes left out" in stdout[len(running["stdout"]) :][:100]
    assert len(stdout) < 3 << 20


# Timeouts


def test_a_timeout_ends_the_command_and_keeps_its_output(sct: Sct) -> None:
    job = sct.run("echo so far; sleep 1000", timeout=3)
    assert (job["status"], job["exit_code"], job["error"]) == ("failed", -1, "command timed out")
    assert (job["stdout"], job["stderr"]) == ("so far\n", "Command execution timed out")
    assert 3000 <= job["duration_ms"] < 60_000


def test_what_was_written_to_stderr_is_kept_at_a_timeout(sct: Sct) -> None:
    assert sct.run("echo mine >&2; sleep 1000", timeout=3)["stderr"] == "mine\n"


def test_a_grandchild_that_holds_the_pipes_holds_up_no_timeout(sct: Sct, tmp_path: Path) -> None:
    script = "sh -c 'trap : TERM; echo $$ > pid; while :; do sleep 1000; done' & setsid sleep 1000 & sleep 1000"
    job = sct.run(script, timeout=3, working_dir=str(tmp_path))
    assert (job["status"], job["error"]) == ("failed", "command timed out")
    # 3 s of timeout and 1 s of grace; the sleep is 1000.
    assert job["duration_ms"] < 60_000
    child = Path("/proc", (tmp_path / "pid").read_text().strip())
    until(lambda: not child.exists(), "the end of the grandchild")


def test_a_grandchild_that_holds_the_pipes_holds_up_no_end(sct: Sct) -> None:
    job = sct.run("sleep 1000 & echo done")
    assert (job["status"], job["stdout"]) == ("completed", "done\n")
    assert job["duration_ms"] < 60_000
