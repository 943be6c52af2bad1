"""Who a worker is, and that there is one of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner_service.worker import identity
from runner_service.worker.identity import (
    Identity,
    WorkerAlive,
    WorkerLock,
    end_registration,
    load_identity,
    local_worker_is_alive,
    next_session_id,
    registration_id,
    store_identity,
)


def test_an_identity_is_kept_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    assert load_identity(tmp_path) is None
    stored = Identity(runner_id="r", credential="secret", server="unix:/a")
    store_identity(tmp_path, stored)
    assert load_identity(tmp_path) == stored
    assert (tmp_path / "worker" / "identity").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "worker").stat().st_mode & 0o777 == 0o700


def test_a_registration_keeps_its_id_until_it_has_ended(tmp_path: Path) -> None:
    first = registration_id(tmp_path, "a:1")
    assert registration_id(tmp_path, "a:1") == first
    assert registration_id(tmp_path, "b:1") != first
    second = registration_id(tmp_path, "a:1")
    assert second != first
    end_registration(tmp_path)
    end_registration(tmp_path)
    assert registration_id(tmp_path, "a:1") not in (first, second)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"runner_id": "x"}', "\0"])
def test_a_damaged_identity_is_none(tmp_path: Path, text: str) -> None:
    (identity.worker_directory(tmp_path) / "identity").write_text(text)
    assert load_identity(tmp_path) is None


@pytest.mark.parametrize(
    ("server", "target", "holds"),
    [
        ("a:1", "a:1", True),
        ("a:1", "b:1", False),  # A credential is not shown to another server.
        ("unix:/old/run/s.sock", "unix:/new/run/s.sock", True),
        ("unix:/run/s.sock", "a:1", False),
        ("", "a:1", True),
    ],
)
def test_where_an_identity_holds(server: str, target: str, holds: bool) -> None:
    assert Identity(runner_id="r", credential="c", server=server).holds_at(target) is holds


def test_the_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    assert local_worker_is_alive(tmp_path) is None
    with WorkerLock(tmp_path):
        assert local_worker_is_alive(tmp_path) == os.getpid()
        with pytest.raises(WorkerAlive) as caught, WorkerLock(tmp_path):
            pass
        assert caught.value.pid == os.getpid()
    assert local_worker_is_alive(tmp_path) is None
    with WorkerLock(tmp_path):
        pass


def test_the_lock_of_a_killed_worker_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from runner_service.worker.identity import WorkerLock\n"
        "with WorkerLock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert local_worker_is_alive(tmp_path) == process.pid
        process.kill()
        process.wait()
        assert local_worker_is_alive(tmp_path) is None


def test_sessions_sort_by_their_start_also_when_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next_session_id(tmp_path)
    monkeypatch.setattr(identity, "new_id", lambda: "00000000-0000-7000-8000-000000000000")
    second = next_session_id(tmp_path)
    third = next_session_id(tmp_path)
    assert first < second < third


def test_the_server_can_look_for_its_worker_without_grpc() -> None:
    code = "import sys, runner_service.worker.identity; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
