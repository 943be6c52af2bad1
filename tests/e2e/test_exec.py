"""`runner exec` and its neighbours, through everything."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from e2e_command_line import CommandLine
from e2e_jobs import wait_for
from e2e_processes import processes_of
from e2e_server import ServerProcess, environment_of
from e2e_until import until

CLIENTS_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "call-from-other-languages.md"
ADDRESS = "127.0.0.1:50051"
CommandLines = Callable[[ServerProcess], CommandLine]


async def test_exec_prints_as_it_happens_and_exits_with_the_code(
    server: ServerProcess, command_line: CommandLines, tmp_path: Path
) -> None:
    gates = [tmp_path / "gate-1", tmp_path / "gate-2"]
    text = f"echo 1; {wait_for(gates[0])}; echo 2; {wait_for(gates[1])}; echo 3; exit 7"
    process = command_line(server).start("exec", "--", "sh", "-c", text)
    assert process.stdout is not None
    # Each line is read before the command may go on to the next.
    assert await asyncio.to_thread(process.stdout.readline) == b"1\n"
    gates[0].touch()
    assert await asyncio.to_thread(process.stdout.readline) == b"2\n"
    gates[1].touch()
    out, err = await asyncio.to_thread(process.communicate, None, 90)
    assert (out, err, process.returncode) == (b"3\n", b"", 7)


async def test_the_line_of_the_issue(server: ServerProcess, command_line: CommandLines) -> None:
    text = "for i in 1 2 3; do echo $i; sleep 0.2; done; exit 7"
    assert await command_line(server)("exec", "--", "sh", "-c", text) == (7, "1\n2\n3\n", "")


def test_the_programs_of_the_page_on_clients_work_as_written(server: ServerProcess) -> None:
    programs = re.findall(r"```python\n(.*?)```", CLIENTS_PAGE.read_text(), re.DOTALL)
    assert len(programs) == 2 and all(ADDRESS in program for program in programs)
    said = [
        subprocess.run(
            [sys.executable, "-c", program.replace(ADDRESS, server.grpc)],
            env=environment_of(), capture_output=True, text=True, timeout=90, check=True,
        ).stdout
        for program in programs
    ]  # fmt: skip
    assert said[0] == "STREAM_STDOUT b'hello\\n'\nexit code 7\n"
    assert "STATE_FAILED" in said[1].splitlines()[0]


async def test_streams_stay_apart_and_arguments_arrive_untouched(
    server: ServerProcess, command_line: CommandLines
) -> None:
    text = 'printf "%s|" "$@"; echo oops >&2'
    arguments = ["a b", "", "*", "--server", "é\n$HOME"]
    code, out, err = await command_line(server)("exec", "--", "sh", "-c", text, "sh", *arguments)
    assert (code, out, err) == (0, "|".join(arguments) + "|", "oops\n")


async def test_ctrl_c_cancels_the_command(server: ServerProcess, command_line: CommandLines, tmp_path: Path) -> None:
    mark = f"mark-{tmp_path.name}"
    process = command_line(server).start("exec", "--", "sh", "-c", f"echo up; sleep 1000; echo {mark}")
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == b"up\n"
    process.send_signal(signal.SIGINT)
    out, _ = await asyncio.to_thread(process.communicate, None, 90)
    assert (process.returncode, out) == (130, b"")
    await until(lambda: not processes_of(f"sleep 1000; echo {mark}"), what="the end of the cancelled command")


async def test_a_command_that_does_not_exist_is_refused(server: ServerProcess, command_line: CommandLines) -> None:
    code, out, err = await command_line(server)("exec", "--", "no-such-program-here")
    assert (code, out) == (127, "")
    assert "no-such-program-here" in err


async def test_a_directory_that_does_not_exist_is_refused(server: ServerProcess, command_line: CommandLines) -> None:
    code, out, err = await command_line(server)("exec", "--cwd", "/no/such/place", "--", "true")
    assert (code, out) == (125, "")
    assert "/no/such/place" in err


async def test_a_timeout_ends_the_command(server: ServerProcess, command_line: CommandLines) -> None:
    code, out, err = await command_line(server)("exec", "--timeout", "4s", "--", "sh", "-c", "echo up; sleep 1000")
    assert (code, out) == (124, "up\n")
    assert err


async def test_a_signal_is_told_apart_from_an_exit(server: ServerProcess, command_line: CommandLines) -> None:
    code, _, _ = await command_line(server)("exec", "--", "sh", "-c", "kill -SEGV $$")
    assert code == 128 + signal.SIGSEGV


async def test_submit_wait_logs_ps_cancel(server: ServerProcess, command_line: CommandLines, tmp_path: Path) -> None:
    runner = command_line(server)
    file = tmp_path / "job.yaml"
    file.write_text("steps:\n  - run: echo one\n  - run: echo two >&2\n")
    code, out, err = await runner("submit", str(file))
    assert code == 0, err
    job_id = out.split()[0]
    assert (await runner("wait", job_id))[0] == 0
    assert await runner("logs", "-f", job_id) == (0, "one\n", "two\n")
    code, out, _ = await runner("ps", "--all", "--json")
    assert code == 0
    assert job_id in out
    code, _, err = await runner("cancel", job_id)
    assert code != 0
    assert "ended already" in err
    code, out, _ = await runner("exec", "--json", "-d", "--", "sh", "-c", wait_for(tmp_path / "gate"))
    detached = json.loads(out)["jobId"]
    await until(lambda: processes_of(f"{tmp_path}/gate"), what="the process of the command")
    assert (await runner("cancel", detached))[0] == 0
    assert (await runner("wait", detached))[0] != 0
    assert not processes_of(f"{tmp_path}/gate")
