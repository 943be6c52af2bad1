"""Standard input through the supervisor: pipes and terminals, with real processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from supervisor_rig import PATIENCE, Hold

from runner_service.domain import inputs
from runner_service.domain.inputs import InputRecord
from runner_service.domain.logs import LogStream

MakeHold = Callable[[Path], Hold]


async def give(hold: Hold, attempt_id: str, offset: int, *records: InputRecord) -> int:
    """Gives all of it, as a worker does."""
    end = offset + sum(record.places for record in records)
    async with asyncio.timeout(PATIENCE):
        while (received := await hold.client.input(attempt_id, offset, records)) < end:
            assert received >= 0
            await hold.written(attempt_id, received - 1)
    return end


async def seen(hold: Hold, attempt_id: str, text: bytes, stream: LogStream = LogStream.PTY) -> None:
    async with asyncio.timeout(PATIENCE):
        while text not in hold.text(attempt_id, stream):
            await hold.news()


async def test_bytes_arrive_untouched_and_the_end_ends_it(hold: Hold) -> None:
    data = os.urandom(2_000_000)
    await hold.start("a", ["sha256sum"], stdin="PIPE")
    end = await give(hold, "a", 0, *inputs.data(data))
    await give(hold, "a", end, inputs.END)
    ended = await hold.end("a")
    assert ended.outcome.exit_code == 0
    assert hold.text("a").split()[0] == sha256(data).hexdigest().encode()


async def test_without_stdin_reading_ends_at_once_and_input_is_refused(hold: Hold) -> None:
    await hold.start("a", "cat; echo end; exec sleep 1000")
    await seen(hold, "a", b"end\n", LogStream.STDOUT)
    assert await hold.client.input("a", 0, inputs.data(b"x")) == -1
    assert await hold.client.input("none", 0, inputs.data(b"x")) == -1


async def test_a_place_is_given_once_and_a_hole_is_not_taken(hold: Hold) -> None:
    await hold.start("a", ["cat"], stdin="PIPE")
    assert await hold.client.input("a", 0, inputs.data(b"abc")) == 3
    assert await hold.client.input("a", 0, inputs.data(b"abcd")) == 4
    assert await hold.client.input("a", 9, inputs.data(b"hole")) == 4
    assert await hold.client.input("a", 4, [*inputs.data(b"e"), inputs.END]) == 6
    await hold.end("a")
    assert hold.text("a") == b"abcde"


async def test_a_child_that_does_not_read_blocks_nobody_and_hears_signals(hold: Hold) -> None:
    script = "trap 'echo interrupted; exit 3' INT; echo up; while :; do sleep 0.05; done"
    await hold.start("a", script, stdin="PIPE")
    await seen(hold, "a", b"up\n", LogStream.STDOUT)
    flood = inputs.data(bytes(1_000_000))
    received = await hold.client.input("a", 0, flood)
    assert received < 1_000_000, "it must be bounded"
    assert (await hold.run("b", "echo other")).outcome.exit_code == 0
    assert await hold.client.input("a", received, [inputs.signal(2)]) in (received, received + 1)
    # Where there is no room at all, the worker would wait for some: the server never sends so far ahead.
    await hold.start("c", script, stdin="PIPE")
    await seen(hold, "c", b"up\n", LogStream.STDOUT)
    end = await hold.client.input("c", 0, inputs.data(bytes(256 * 1024)))
    assert await hold.client.input("c", end, [inputs.signal(2)]) == end + 1
    assert (await hold.end("c")).outcome.exit_code == 3


async def test_who_closes_its_input_ends_it_cleanly(hold: Hold) -> None:
    await hold.start("a", "exec <&-; echo closed; exec sleep 1000", stdin="PIPE")
    await seen(hold, "a", b"closed\n", LogStream.STDOUT)
    end = await give(hold, "a", 0, *inputs.data(bytes(3_000_000)))
    await hold.written("a", end - 1)
    await hold.client.kill("a", "cancel")
    assert (await hold.end("a")).outcome.kind.value == "CANCELLED"


async def test_steps_share_the_input(hold: Hold) -> None:
    await hold.start("a", "read one; echo 1:$one", "read two; echo 2:$two", stdin="PIPE")
    await give(hold, "a", 0, *inputs.data(b"x\n"))
    await seen(hold, "a", b"1:x\n", LogStream.STDOUT)
    await give(hold, "a", 2, *inputs.data(b"y\n"))
    assert (await hold.end("a")).outcome.exit_code == 0
    assert hold.text("a") == b"1:x\n2:y\n"


async def test_a_later_worker_goes_on_at_the_right_byte(make_hold: MakeHold, tmp_path: Path) -> None:
    first = make_hold(tmp_path / "worker")
    await first.connect(idle_exit_seconds=30)
    await first.start("a", ["cat"], stdin="PIPE")
    assert await first.client.input("a", 0, inputs.data(b"abc")) == 3
    first.client.abandon()
    second = make_hold(tmp_path / "worker")
    known = (await second.connect())["a"]
    assert known.input_received == 3
    # As after a crash: the server sends from an earlier place what this one does not know that it arrived.
    assert await second.client.input("a", 1, [*inputs.data(b"bcdef"), inputs.END]) == 7
    await second.end("a")
    assert second.text("a") == b"abcdef"
    first.connected = False


async def test_a_terminal_is_the_controlling_one_and_has_the_size(hold: Hold) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size && tty < /dev/tty; ps -o tpgid= -p $$ >/dev/null; exit 4"
    ended = await hold.run("a", script, stdin="PTY", terminal=(50, 132))
    assert ended.outcome.exit_code == 4
    assert hold.text("a", LogStream.PTY).startswith(b"50 132\r\n/dev/")
    assert ended.seal.stdout_bytes == len(hold.text("a", LogStream.PTY))


async def test_a_terminal_tells_of_its_new_size(hold: Hold) -> None:
    await hold.start("a", "trap 'stty size; exit 5' WINCH; echo up; while :; do sleep 0.02; done", stdin="PTY")
    await seen(hold, "a", b"up\r\n")
    await give(hold, "a", 0, inputs.resize(33, 99))
    assert (await hold.end("a")).outcome.exit_code == 5
    assert hold.text("a", LogStream.PTY).endswith(b"33 99\r\n")


async def test_a_terminal_echoes_and_ends(hold: Hold) -> None:
    script = "echo up; while read line; do echo got:$line; done; echo bye"
    await hold.start("a", script, stdin="PTY")
    await seen(hold, "a", b"up\r\n")
    end = await give(hold, "a", 0, *inputs.data(b"hello\r"))
    await seen(hold, "a", b"hello\r\ngot:hello\r\n")
    await give(hold, "a", end, inputs.END)
    assert (await hold.end("a")).outcome.exit_code == 0
    assert hold.text("a", LogStream.PTY).endswith(b"bye\r\n")


async def test_ctrl_c_and_a_signal_reach_the_foreground_alone(hold: Hold) -> None:
    shell = ["sh", "-c", "set -m; trap : TERM; echo up; while :; do sleep 1000; echo back:$?; read -r _; done"]
    await hold.start("a", "(trap 'echo sub; exit 7' INT; echo up; while :; do sleep 0.05; done); echo code:$?",
                     stdin="PTY")  # fmt: skip
    await seen(hold, "a", b"up\r\n")
    await give(hold, "a", 0, *inputs.data(b"\x03"))
    await seen(hold, "a", b"sub\r\n")
    await hold.end("a")
    await hold.start("b", shell, stdin="PTY")
    await seen(hold, "b", b"up\r\n")
    async with asyncio.timeout(PATIENCE):
        offset = 0
        while b"back:143" not in hold.text("b", LogStream.PTY):  # Until its child is in the foreground.
            offset = await give(hold, "b", offset, inputs.signal(15))
            await asyncio.sleep(0.02)
    await hold.client.kill("b", "cancel")
    assert (await hold.end("b")).outcome.survivors == 0


async def test_an_interactive_shell_ends_within_its_grace(hold: Hold) -> None:
    await hold.start("a", ["sh", "-i"], stdin="PTY", kill_grace_seconds=PATIENCE)
    await give(hold, "a", 0, *inputs.data(b"echo ready$((1+1))\r"))
    await seen(hold, "a", b"ready2")
    await hold.client.kill("a", "cancel")
    assert (await hold.end("a")).outcome.kind.value == "CANCELLED"


async def test_the_last_output_of_a_terminal_is_whole(hold: Hold) -> None:
    ended = await hold.run("a", "seq 20000", stdin="PTY")
    text = hold.text("a", LogStream.PTY)
    assert text.replace(b"\r\n", b"\n").split() == [str(number).encode() for number in range(1, 20001)]
    assert ended.size > 0
