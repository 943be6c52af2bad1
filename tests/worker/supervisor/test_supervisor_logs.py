"""The journal: every byte, in order, once, and said aloud when not."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from supervisor_rig import Hold, until

from runner_service.domain.logs import LogStream


async def test_50_mb_of_random_bytes_on_both_pipes_arrive_byte_for_byte(hold: Hold, tmp_path: Path) -> None:
    for name in ("out", "err"):
        (tmp_path / name).write_bytes(os.urandom(25_000_000))
    end = await hold.run("a", f"cat {tmp_path}/err >&2 & cat {tmp_path}/out; wait")
    hold.check_seal("a", end)
    for stream, name in ((LogStream.STDOUT, "out"), (LogStream.STDERR, "err")):
        assert (
            hashlib.sha256(hold.text("a", stream)).digest() == hashlib.sha256((tmp_path / name).read_bytes()).digest()
        )


async def test_output_is_in_the_journal_while_the_job_runs(hold: Hold) -> None:
    await hold.start("a", "printf partial; sleep 1000")
    told = await hold.event("output", "a")
    assert hold.text("a") == b"partial"
    assert told["sizes"]["a"] == len(hold.journal("a"))
    await hold.client.kill("a", "cancel")
    await hold.end("a")


async def test_many_small_writes_become_few_records(hold: Hold) -> None:
    script = "import os\nfor n in range(100000): os.write(1, b'%07d\\n' % n)"
    end = await hold.run("a", [sys.executable, "-I", "-S", "-c", script])
    hold.check_seal("a", end)
    assert hold.text("a") == b"".join(b"%07d\n" % n for n in range(100_000))
    assert end.seal.records < 5_000


async def test_a_job_without_output_has_an_empty_log(hold: Hold) -> None:
    end = await hold.run("a", ["true"])
    hold.check_seal("a", end)
    assert (end.size, end.seal.records) == (0, 0)


@pytest.mark.parametrize(("limit", "head"), [(1000, 500), (0, 0), (1, 1), (10_000_000, 10_000_000 - (1 << 20))])
async def test_beyond_the_limit_the_head_and_the_tail_are_kept_and_the_gap_is_said(
    hold: Hold, tmp_path: Path, limit: int, head: int
) -> None:
    data = b"".join(b"%09d\n" % n for n in range(2_000_000))
    (tmp_path / "data").write_bytes(data)
    end = await hold.run("a", f"cat {tmp_path}/data", log_limit_bytes=limit)
    hold.check_seal("a", end)
    records = hold.records("a")
    (at,) = (n for n, record in enumerate(records) if record.stream is LogStream.GAP)
    before = b"".join(record.data for record in records[:at])
    behind = b"".join(record.data for record in records[at:])
    assert before == data[:head]
    assert data.endswith(behind)
    assert len(before) + len(behind) <= limit
    assert len(before) + records[at].gap_bytes + len(behind) == len(data)


async def test_up_to_the_limit_nothing_is_missing(hold: Hold) -> None:
    end = await hold.run("a", "printf 0123456789; printf abcdefghij", log_limit_bytes=20)
    hold.check_seal("a", end)
    assert hold.text("a") == b"0123456789abcdefghij"


async def test_memory_stays_flat_over_a_long_log_and_a_long_gap(hold: Hold) -> None:
    def resident() -> int:
        (line,) = (x for x in Path(f"/proc/{hold.client.pid}/status").read_text().splitlines() if "VmRSS" in x)
        return int(line.split()[1])

    assert resident() < 15 * 1024
    await hold.run("a", "head -c 100000000 /dev/zero")
    await hold.client.forget("a")
    await hold.run("b", "head -c 100000000 /dev/zero", log_limit_bytes=4 << 20)
    await hold.run("c", "yes | head -c 20000000", log_limit_bytes=4 << 20)
    assert resident() < 30 * 1024


async def test_at_the_spool_limit_jobs_wait_and_go_on_when_there_is_room(
    tmp_path: Path, make_hold: Callable[[Path], Hold]
) -> None:
    hold = make_hold(tmp_path / "worker")
    await hold.connect(spool_limit_bytes=3 << 20)
    await hold.run("full", "head -c 4000000 /dev/zero")
    await hold.start("waiting", "head -c 20000000 /dev/zero; echo done >&2")
    await hold.client.forget("full")
    taken = 0
    while taken < 19_000_000:  # The worker takes what is there, and only thereby makes room for more.
        enough = min(taken + (3 << 20) - (1 << 18), 19_000_000)
        await until(lambda enough=enough: len(hold.journal("waiting")) >= enough)
        assert len(hold.journal("waiting")) - taken < 5 << 20
        taken = len(hold.journal("waiting"))
        await hold.client.acked("waiting", taken)
    end = await hold.end("waiting")
    assert (end.outcome.exit_code, end.seal.stdout_bytes, end.seal.stderr_bytes) == (0, 20_000_000, 5)


async def test_each_step_but_the_first_is_marked_where_its_output_begins(hold: Hold) -> None:
    end = await hold.run("a", "echo one; echo oops >&2", "true", "echo three")
    hold.check_seal("a", end)
    found = [(record.stream, record.data) for record in hold.records("a")]
    assert sorted(found[:2]) == [(LogStream.STDOUT, b"one\n"), (LogStream.STDERR, b"oops\n")]
    assert found[2:] == [(LogStream.STEP, b"1"), (LogStream.STEP, b"2"), (LogStream.STDOUT, b"three\n")]
