"""contract/sct.md §8: a cancel in every state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sct_server import JSON, Sct, SctServer, until

ONE_SLOT = {"security": {"api_keys": ["sct-runner-key-1"]}, "executor": {"max_concurrent_jobs": 1}}
REFUSED = "job cannot be cancelled (status: {})"


def assert_cancelled(reply_of: Sct, job_id: str) -> None:
    reply = reply_of.cancel(job_id)
    assert (reply.status_code, reply.headers["content-type"]) == (200, JSON)
    assert reply.json() == {"job_id": job_id, "message": "Command cancelled successfully", "status": "cancelled"}


def assert_refused(sct: Sct, job_id: str, word: str) -> None:
    reply = sct.cancel(job_id)
    assert (reply.status_code, reply.headers["content-type"]) == (400, JSON)
    assert reply.json() == {"error": "Cannot cancel job", "message": REFUSED.format(word)}


def test_a_running_command_shows_cancelled_from_the_answer_on(sct: Sct) -> None:
    job_id = sct.sh("echo so far; trap '' TERM; while :; do sleep 1000; done")
    sct.wrote(job_id, "so far")
    assert_cancelled(sct, job_id)
    first = sct.job(job_id)
    assert first["status"] == "cancelled"
    assert first["error"] == "command cancelled"
    assert (first["stdout"], first["stderr"]) == ("so far\n", "Command execution cancelled")
    assert "exit_code" not in first
    assert first["started_at"] <= first["completed_at"]
    assert_refused(sct, job_id, "cancelled")
    # The process is gone once the service counts it no more; nothing that clients see has changed by that.
    until(lambda: sct.http.get("/health").json()["running_jobs"] == 0, "the end of the process")
    assert sct.job(job_id) == first
    assert_refused(sct, job_id, "cancelled")
    assert job_id in [job["job_id"] for job in sct.list(status="cancelled", limit=0)["commands"]]


def test_whatever_the_process_still_does_it_stays_cancelled(sct: Sct) -> None:
    job_id = sct.sh("trap 'echo bye; echo late >&2; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    sct.wrote(job_id, "up")
    assert_cancelled(sct, job_id)
    job = sct.wrote(job_id, "bye")
    assert (job["status"], job["stdout"]) == ("cancelled", "up\nbye\n")
    assert job["stderr"].endswith("late\n")
    assert "exit_code" not in job
    assert_refused(sct, job_id, "cancelled")


def test_what_was_written_to_stderr_is_kept(sct: Sct) -> None:
    job_id = sct.sh("echo mine >&2; echo up; sleep 1000")
    sct.wrote(job_id, "up")
    assert_cancelled(sct, job_id)
    assert sct.job(job_id)["stderr"] == "mine\n"


def test_the_whole_tree_dies(sct: Sct, tmp_path: Path) -> None:
    (tmp_path / "stubborn").write_text("trap '' TERM HUP; echo $$ >> pids; while :; do sleep 1000; done")
    script = "setsid sh stubborn & (setsid sh stubborn &); echo $$ >> pids; wait"
    job_id = sct.sh(script, working_dir=str(tmp_path))
    pids = tmp_path / "pids"
    until(lambda: pids.exists() and len(pids.read_text().split()) == 3, "three processes")
    assert_cancelled(sct, job_id)
    for pid in pids.read_text().split():
        until(lambda path=Path("/proc", pid): not path.exists(), f"the end of {pid}")


@pytest.mark.parametrize(
    ("script", "word"), [("true", "completed"), ("false", "failed"), ("kill -9 $$", "failed"), ("exit 0", "completed")]
)
def test_a_finished_command_cannot_be_cancelled(sct: Sct, script: str, word: str) -> None:
    before = sct.run(script)
    assert_refused(sct, before["job_id"], word)
    assert sct.job(before["job_id"]) == before


def test_a_command_that_timed_out_has_failed(sct: Sct) -> None:
    job_id = sct.sh("true", timeout=-1)
    assert_refused(sct, job_id, "failed")


@pytest.mark.parametrize("job_id", ["x", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_command_is_not_found(sct: Sct, job_id: str) -> None:
    reply = sct.cancel(job_id)
    assert reply.status_code == 404
    assert reply.json() == {"error": "Cannot cancel job", "message": "job not found"}


def test_a_queued_command_that_was_cancelled_never_runs(make_server: Callable[..., SctServer], tmp_path: Path) -> None:
    sct = make_server(ONE_SLOT).client()
    blocker = sct.sh("echo up; exec sleep 1000")
    sct.wrote(blocker, "up")
    waiting = sct.sh(f"touch {tmp_path}/ran")
    behind = sct.sh("echo behind")
    assert sct.job(waiting)["status"] == "queued"
    assert_cancelled(sct, waiting)
    job = sct.job(waiting)
    assert (job["status"], job["error"], job["stderr"]) == (
        "cancelled",
        "command cancelled",
        "Command execution cancelled",
    )
    assert not {"started_at", "exit_code", "stdout", "duration_ms"} & set(job)
    assert job["completed_at"] >= job["created_at"]
    assert_refused(sct, waiting, "cancelled")
    sct.cancel(blocker)
    # What was queued behind it ran, so its turn is over.
    assert sct.ended(behind)["status"] == "completed"
    assert not (tmp_path / "ran").exists()
    assert sct.job(waiting) == job
