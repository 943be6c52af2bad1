"""Interactive commands through everything: pipes, terminals, WebSockets, and processes killed in the middle."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e_command_line import CommandLine
from e2e_jobs import script
from e2e_server import ServerProcess
from e2e_terminal import Terminal
from e2e_until import until
from websockets.asyncio.client import connect

from runner.v1.job_pb2 import Job
from runner.v1.log_pb2 import LogRecord
from runner_client import AsyncClient

CommandLines = Callable[[ServerProcess], CommandLine]


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def make(server: ServerProcess, *arguments: str, **options: Any) -> Terminal:
        made.append(Terminal(server, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def test_a_pipe_goes_there_and_back(server: ServerProcess, command_line: CommandLines, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(noise(1_000_000))
    with (tmp_path / "data").open("rb") as given:
        process = command_line(server).start("exec", "-i", "--", "cat", stdin=given)
    out, err = await asyncio.to_thread(process.communicate, None, 60)
    assert (process.returncode, err) == (0, b"")
    assert hashlib.sha256(out).digest() == hashlib.sha256(noise(1_000_000)).digest()


async def test_a_command_that_ends_before_its_input_is_read_ends_ours_without_a_word(
    server: ServerProcess, command_line: CommandLines, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(noise(2_000_000))  # More than has room on the way, so that we wait to give it.
    with (tmp_path / "data").open("rb") as given:
        process = command_line(server).start("exec", "-i", "--", "sh", "-c", "exit 4", stdin=given)
    assert (await asyncio.to_thread(process.communicate, None, 60), process.returncode) == ((b"", b""), 4)


async def test_a_terminal_is_shown_in_ours_and_ours_is_put_back(
    server: ServerProcess, terminal: Callable[..., Terminal]
) -> None:
    shell = terminal(server, "exec", "-it", "--", "sh", "-c", "trap 'stty size' WINCH; stty size; read line; exit 7")
    await shell.until(b"40 100\r\n")
    await until(lambda: shell.modes() != shell.before, what="raw mode")
    shell.resize(33, 99)
    shell.process.send_signal(signal.SIGWINCH)
    await shell.until(b"33 99\r\n")
    shell.type(b"bye\r")
    assert await shell.code() in (7, 1)  # Some shells end a read when a signal comes.
    assert shell.modes() == shell.before


async def test_ctrl_c_goes_to_the_other_side_and_the_exit_code_comes_back(
    server: ServerProcess, terminal: Callable[..., Terminal]
) -> None:
    script = "trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 0.05; done"
    shell = terminal(server, "exec", "-it", "--", "sh", "-c", script)
    await shell.until(b"up\r\n")
    await until(lambda: shell.modes() != shell.before, what="raw mode")
    shell.type(b"\x03")
    assert await shell.code() == 9
    assert b"interrupted\r\n" in shell.seen
    assert shell.modes() == shell.before


async def test_our_end_puts_the_terminal_back_and_cancels(
    server: ServerProcess, terminal: Callable[..., Terminal]
) -> None:
    shell = terminal(server, "exec", "-it", "--", "sh", "-c", "echo up; sleep 1000")
    await shell.until(b"up\r\n")
    await until(lambda: shell.modes() != shell.before, what="raw mode")
    shell.process.send_signal(signal.SIGTERM)
    assert await shell.code() == 130
    assert shell.modes() == shell.before


async def test_detach_and_attach_again_by_a_name(server: ServerProcess, terminal: Callable[..., Terminal]) -> None:
    script = "echo up; while read line; do echo got:$line; done; exit 3"
    name = f"name-{os.getpid()}"
    first = terminal(server, "exec", "-it", "--id", name, "--", "sh", "-c", script)
    await first.until(b"up\r\n")
    await until(lambda: first.modes() != first.before, what="raw mode")
    first.type(b"one\r")
    await first.until(b"got:one\r\n")
    first.type(b"\x10")
    first.type(b"\x11")
    assert await first.code() == 0
    assert first.modes() == first.before
    second = terminal(server, "attach", "--id", name)
    await second.until(b"got:one\r\n")
    await until(lambda: second.modes() != second.before, what="raw mode")
    second.type(b"two\r")
    await second.until(b"got:two\r\n")
    assert second.seen.count(b"got:") == 2
    third = terminal(server, "exec", "-it", "--id", name, "--", "sh", "-c", script)
    await third.until(b"got:two\r\n")
    await until(lambda: third.modes() != third.before, what="raw mode")
    third.type(b"\x04")
    assert (await second.code(), await third.code()) == (3, 3)


async def test_a_command_that_no_runner_takes_says_why_and_can_be_left(
    server: ServerProcess, terminal: Callable[..., Terminal]
) -> None:
    ours = terminal(server, "exec", "-it", "--label", "no=such", "--notice-after", "20ms", "--", "true")
    await ours.until(b"lacks no=such")
    await ours.until(b"Ctrl-P Ctrl-Q leaves it\r\n")
    ours.type(b"\x10\x11")
    assert await ours.code() == 0
    async with AsyncClient(server.grpc) as client:
        job_id = re.findall(rb"job (\S+) waits", ours.seen)[0].decode()
        assert (await client.get_job(job_id)).waiting_reason == Job.WAITING_REASON_LABELS
        await client.cancel(job_id)


async def test_exec_gives_up_when_no_runner_takes_it_in_time(server: ServerProcess, command_line: CommandLines) -> None:
    wanted = ("exec", "--label", "no=such", "--queue-timeout", "10ms", "--", "true")
    code, _, errors = await command_line(server)(*wanted)
    assert (code, errors) == (124, "runner: it waited too long for a runner\n")


async def test_it_needs_a_terminal_for_one(server: ServerProcess, command_line: CommandLines) -> None:
    code, out, err = await command_line(server)("exec", "-it", "--", "true")
    assert (code, out) == (2, "")
    assert "terminal" in err
    code, out, _ = await command_line(server)("exec", "-t", "--", "sh", "-c", "test -t 1 && echo yes")
    assert (code, out) == (0, "yes\r\n")


async def test_by_websocket(server: ServerProcess) -> None:
    url = f"{server.http.replace('http', 'ws')}/api/v2/commands:exec"
    text = b""
    async with connect(url, proxy=None, open_timeout=60) as socket:
        await socket.send(json.dumps({"start": {"argv": ["cat"]}}))
        started = json.loads(await socket.recv())["started"]
        assert started["input"]["limitOffset"]
        for data in (b"hello ", b"world"):
            await socket.send(json.dumps({"input": {"record": {"data": base64.b64encode(data).decode()}}}))
        await socket.send(json.dumps({"input": {"record": {"end": {}}}}))
        async for frame in socket:
            message = json.loads(frame)
            for record in message.get("output", {}).get("records", ()):
                text += base64.b64decode(record["data"])
            if "end" in message:
                break
        assert message["end"]["state"] == "STATE_SUCCEEDED"
    assert text == b"hello world"
    async with connect(url, proxy=None, open_timeout=60) as socket:
        await socket.send(json.dumps({"attach": {"jobId": started["jobId"]}}))
        kinds = [next(iter(json.loads(frame))) async for frame in socket]
    assert kinds[0] == "started"
    assert kinds[-1] == "end"


async def copied(client: AsyncClient, data: bytes, disturb: Callable[[int], None]) -> bytes:
    """Gives data to `cat` in pieces, disturbing in between, and returns what comes back."""
    session = client.exec(["cat"])
    got = b""

    async def give() -> None:
        for at in range(0, len(data), 100_000):
            await session.write(data[at : at + 100_000])
            disturb(at)
        session.finish()

    giving = asyncio.create_task(give())
    async for message in session.output():
        got += b"".join(record.data for record in message.records if record.stream == LogRecord.STREAM_STDOUT)
    await giving
    assert session.end is not None
    assert session.end.outcome.exit_code == 0
    return got


async def test_top_shows_runners_live_until_it_is_interrupted(
    server: ServerProcess, client: AsyncClient, http: httpx.AsyncClient, terminal: Callable[..., Terminal]
) -> None:
    body = {"name": "watched", "type": "native", "host": "here", "port": 1}
    runner_id = (await http.post("/api/runners/register", json=body)).json()["runner_id"].removeprefix("runner_")
    top = terminal(server, "runners", "top", size=(40, 160))
    await top.until(b"watched")
    await until(lambda: top.row("watched")[1:4] == ["active", "0/5", "0"], what="all of its row")
    assert b"CPU %" in top.seen
    job = await client.create_job(script("sleep 1000", labels={"runner_id": runner_id}))
    await until(lambda: top.row("watched")[2:4] == ["1/5", "0"], what="its job in the table")
    await client.cancel(job.job_id)
    await until(lambda: top.row("watched")[2:4] == ["0/5", "0"], what="no job in the table")
    top.process.send_signal(signal.SIGINT)
    assert await top.code() == 130
    assert top.seen.endswith(b"\x1b[?25h") or b"\x1b[?1049l" in top.seen, "the terminal is as it was"


async def test_runners_are_listed_shown_and_told_by_the_command_line(
    server: ServerProcess, http: httpx.AsyncClient, command_line: CommandLines
) -> None:
    body = {"name": "told", "type": "native", "host": "here", "port": 1}
    assert (await http.post("/api/runners/register", json=body)).status_code == 201
    run = command_line(server)

    async def told(*words: str) -> str:
        code, out, err = await run("runners", *words)
        assert code == 0, err
        return out

    shown = await told("show", "told", "--check", "--json")
    assert json.loads(shown)["runner"]["state"] == "STATE_ACTIVE"
    for verb in ("stop", "start", "drain"):
        await told(verb, "told")
    (row,) = [row for row in (await told("list")).splitlines() if " told " in row]
    assert row.split()[2] == "inactive"
    log = await told("logs", "told")
    assert log.index("active -> inactive") < log.index("starting -> active") < log.rindex("active -> inactive")


async def test_a_server_that_is_killed_loses_and_repeats_nothing(own_server: ServerProcess) -> None:
    own_server.start()
    restarting: list[asyncio.Task[None]] = []

    def disturb(at: int) -> None:
        if at == 300_000:
            own_server.kill()
            restarting.append(asyncio.create_task(asyncio.to_thread(own_server.start)))

    async with own_server.client() as client:
        async with asyncio.timeout(120):
            assert await copied(client, noise(900_000), disturb) == noise(900_000)
        await asyncio.gather(*restarting)


async def test_a_worker_that_is_killed_loses_and_repeats_nothing(own_server: ServerProcess) -> None:
    own_server.start()
    killed: list[int] = []

    def disturb(at: int) -> None:
        if at in (200_000, 600_000) and own_server.worker_pid:
            killed.append(own_server.worker_pid)
            os.kill(own_server.worker_pid, signal.SIGKILL)

    async with own_server.client() as client, asyncio.timeout(120):
        assert await copied(client, noise(900_000), disturb) == noise(900_000)
    assert killed
