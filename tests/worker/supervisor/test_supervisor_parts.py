"""The parts that a whole supervisor shows only on a bad day."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner_service.domain.logs import LogStream, decode
from runner_service.domain.outcomes import OutcomeKind, RefusedReason
from runner_service.worker.supervisor import client, verdict, wire
from runner_service.worker.supervisor.digest import SWITCH_BYTES, Digest
from runner_service.worker.supervisor.index import Index
from runner_service.worker.supervisor.journal import START, Base, Journal
from runner_service.worker.supervisor.paths import Layout, socket_path
from runner_service.worker.supervisor.spools import Spools, seal_what_is_there
from runner_service.worker.supervisor.wire import Known

OUTCOME = {"kind": "EXITED", "exit_code": 3}
SEAL = {"records": 0, "stdout_bytes": 0, "stderr_bytes": 0, "sha256": wire.EMPTY_SHA256}


def known(attempt_id: str, fence: int = 1) -> Known:
    return Known(attempt_id, fence, wire.ENDED, 0, 0, 0, OUTCOME, SEAL)


def test_the_outcomes_are_those_of_the_domain() -> None:
    made = [
        verdict.ended(3, 1),
        verdict.ended(-9, 1),
        *(verdict.killed(cause, "", 0) for cause in ("cancel", "shutdown", "stale", "self_stop")),
        *(verdict.refused(verdict.Refused(reason.value, "why"), 2) for reason in RefusedReason),
    ]
    outcomes = [client.outcome(message | {"usage": verdict.usage(5_000, 6, 7, 8)}) for message in made]
    assert {outcome.kind for outcome in outcomes} == {
        *(OutcomeKind.EXITED, OutcomeKind.SIGNALED, OutcomeKind.CANCELLED, OutcomeKind.LOST, OutcomeKind.REFUSED),
    }
    assert (outcomes[0].usage.wall_us, outcomes[0].usage.cpu_us, outcomes[0].usage.max_rss_bytes) == (5, 6, 7168)


def test_the_empty_hash_is_what_it_says() -> None:
    assert hashlib.sha256().hexdigest() == wire.EMPTY_SHA256


@pytest.mark.parametrize("piece", [1000, 65536])
def test_a_digest_is_the_same_before_and_behind_its_switch(piece: int) -> None:
    data = os.urandom(SWITCH_BYTES + 3 * piece)
    for size in (0, piece, SWITCH_BYTES - piece, SWITCH_BYTES, len(data)):
        given: list[bytes] = []
        digest = Digest(lambda given=given: given)
        for at in range(0, size, piece):
            digest.update(data[at : min(at + piece, size)])
            given.append(data[at : min(at + piece, size)])
        assert digest.hexdigest() == hashlib.sha256(data[:size]).hexdigest()


def test_a_full_disk_loses_no_record(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    path.symlink_to("/dev/full")
    journal = Journal(str(path), 1 << 20)
    journal.write(LogStream.STDOUT, b"one")
    journal.write(LogStream.STDERR, b"two")
    assert (journal.stuck, journal.size, journal.flush()) == (True, 0, False)
    journal.close()
    path.unlink()
    assert journal.flush()
    seal = journal.seal()
    journal.close()
    assert [record.data for record, _ in decode(path.read_bytes())] == [b"one", b"two"]
    assert (seal["records"], seal["sha256"]) == (2, hashlib.sha256(b"onetwo").hexdigest())


def test_a_torn_journal_is_cut_to_whole_frames_and_sealed(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = Journal(str(path), 1 << 30)
    pieces = [os.urandom(60_000) for _ in range(50)]
    for number, piece in enumerate(pieces):
        journal.write(LogStream.STDERR if number % 2 else LogStream.STDOUT, piece)
    expected, size = journal.seal(), journal.size
    journal.close()
    with path.open("ab") as file:
        file.write(b"\x10\x00\x00\x00torn")
    assert seal_what_is_there(str(path), START) == (size, expected)
    assert path.stat().st_size == size
    for number in (20, 50):
        base = Base(number * 60_024, number, number // 2 * 60_000, number // 2 * 60_000)
        assert seal_what_is_there(str(path), base) == (size, {**expected, "sha256": ""})


def test_a_journal_gives_back_what_is_acknowledged_and_is_the_same_from_its_base_on(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = Journal(str(path), 1 << 30)
    assert not journal.acknowledge(1 << 20)
    journal.write(LogStream.STDERR, bytes(1000))
    for _ in range(80):
        journal.write(LogStream.STDOUT, os.urandom(50_000))
    whole = path.read_bytes()
    before = journal.base
    assert not journal.acknowledge(1000)
    assert journal.acknowledge(3_000_000)
    assert journal.acknowledged == 3_000_000
    base = journal.base
    assert 2_000_000 < base.offset <= 3_000_000
    assert (base.stdout_bytes, base.stderr_bytes) == ((base.records - 1) * 50_000, 1000)
    assert next(decode(whole, base.offset))[0].sequence == base.records
    taken = path.stat().st_blocks
    journal.give_back(before)
    assert (taken - path.stat().st_blocks) * 512 >= 2_000_000
    assert path.read_bytes()[base.offset :] == whole[base.offset :]
    assert not journal.acknowledge(2_000_000)
    assert journal.seal()["records"] == 81
    journal.close()


def test_an_index_tells_what_was_appended_whatever_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = Index(str(path), "boot")
    assert index.read() == ({}, [])
    index.begin([])
    for number in range(4):
        index.start(f"a{number}", number)
    index.base("a1", Base(4096, 3, 4000, 24))
    index.base("a1", Base(8192, 5, 8000, 72))
    index.end(known("a2", 2))
    index.end(known("a3", 3))
    index.forget("a3")
    with path.open("ab") as file:
        file.write(b'{"end": {"attempt_id": "a0", "fen')
    begun, ended = Index(str(path), "other").read()
    assert ended == [known("a2", 2)]
    assert {attempt_id: (fact["fence"], fact.get("base")) for attempt_id, fact in begun.items()} == {
        "a0": (0, None),
        "a1": (1, Base(8192, 5, 8000, 72)._asdict()),
    }


def test_an_index_does_not_grow_with_the_number_of_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner_service.worker.supervisor.index.REWRITE_BYTES", 10_000)
    path = tmp_path / "index"
    index = Index(str(path), "boot")
    index.begin([])
    index.start("live", 7)
    for number in range(1000):
        index.start(f"a{number}", 1)
        index.end(known(f"a{number}"))
        index.forget(f"a{number}")
    assert path.stat().st_size < 20_000 + (4 << 20)
    begun, ended = Index(str(path), "boot").read()
    assert (list(begun), ended) == (["live"], [])


def test_a_spool_keeps_its_id_and_a_copy_of_it_has_another(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    index = Index(str(tmp_path / "here" / "index"), "boot")
    index.read()
    index.begin([])
    index.start("a", 1)
    shutil.copytree(tmp_path / "here", tmp_path / "there")

    def spool_id(directory: str) -> str:
        later = Index(str(tmp_path / directory / "index"), "boot")
        later.read()
        later.begin([])
        return later.spool_id

    assert spool_id("here") == index.spool_id
    assert spool_id("there") != index.spool_id
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    assert spool_id("elsewhere") == index.spool_id
    (tmp_path / "elsewhere" / "index").unlink()
    assert spool_id("elsewhere") not in (index.spool_id, "")


def test_an_index_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = Index(str(path), "boot")
    index.begin([])
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, index._fd)
    with pytest.raises(OSError, match="no room"):
        index.start("a", 1)
    os.close(full)


def test_what_belongs_to_nobody_is_cleared_at_the_start(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "worker"))
    layout.make()
    first = Spools(layout, "boot")
    first.recover(lambda _: None)
    first.create("a", 1, 100).close()
    first.finish(known("a"))
    for path in (f"{layout.spool}/ghost.journal", layout.journal("a")):
        Path(path).write_bytes(b"")
    Path(first.working_directory("ghost", "")).joinpath("file").touch()
    second = Spools(layout, "boot")
    assert [one.attempt_id for one in second.recover(lambda _: None)] == ["a"]
    assert [path.name for path in Path(layout.spool).iterdir()] == ["a.journal"]
    assert list(Path(layout.work).iterdir()) == []
    assert len(second.trash()) == 1


def test_frames_survive_being_cut_anywhere() -> None:
    messages = [{"n": n, "text": "ü\udc80" * n} for n in range(5)]
    stream = b"".join(map(wire.pack, messages))
    for cut in range(len(stream)):
        buffer = bytearray(stream[:cut])
        found = wire.unpack(buffer)
        buffer += stream[cut:]
        assert found + wire.unpack(buffer) == messages
        assert not buffer


@pytest.mark.parametrize("frame", [b"\xff\xff\xff\x7f", b"\x02\0\0\0[]", b"\x02\0\0\0{x"])
def test_what_is_not_a_frame_is_an_error(frame: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.unpack(bytearray(frame))


def test_a_socket_path_is_used_as_it_is_while_it_fits(tmp_path: Path) -> None:
    assert socket_path(str(tmp_path)) == f"{tmp_path}/supervisor.sock"


def test_the_supervisor_loads_nothing_heavy() -> None:
    """Neither into itself nor by way of the packages above it."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import runner_service.worker.supervisor.server;"
        "print(*sorted(sys.modules))"
    )
    root = Path(wire.__file__).parents[3]
    output = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(root)], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"grpc", "google.protobuf", "asyncio", "logging", "dataclasses", "inspect", "subprocess", "_hashlib", "ssl"}
    assert heavy.isdisjoint(output)
    assert "site" not in output
