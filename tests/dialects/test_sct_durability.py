"""contract/sct.md §10 and §11: what survives, what is let go, and how the service stops."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from sct_server import COMMANDS, KEY, SctServer, until

CONFIG = {"security": {"api_keys": [KEY]}, "executor": {"max_concurrent_jobs": 2}}


def test_kill_9_of_the_service_loses_no_job_and_no_output(
    make_server: Callable[..., SctServer], tmp_path: Path
) -> None:
    server = make_server(CONFIG)
    sct = server.client()
    body = {"command": "echo", "args": ["kept"], "tags": {"a": "b"}}
    kept = sct.ended(sct.post(body, headers={"Idempotency-Key": "k"}).json()["job_id"])
    failed = sct.run("echo why >&2; exit 9")
    cancelled = sct.sh("echo partial; exec sleep 1000")
    sct.wrote(cancelled, "partial")
    sct.cancel(cancelled)
    sct.when(cancelled, lambda job: sct.http.get("/health").json()["running_jobs"] == 0, "the end of the cancelled")
    finished = {job["job_id"]: job for job in (kept, failed, sct.job(cancelled))}
    gate = tmp_path / "gate"
    running = sct.sh(f"echo before; while [ ! -e {gate} ]; do sleep 0.01; done; echo after")
    before = sct.wrote(running, "before")
    filler = sct.sh(f"echo up; while [ ! -e {gate} ]; do sleep 0.01; done")
    sct.wrote(filler, "up")
    queued = sct.sh("echo ran")

    server.kill()
    server.start()
    sct = server.client()
    assert {job_id: sct.job(job_id) for job_id in finished} == finished
    assert sct.post(body, headers={"Idempotency-Key": "k"}).json()["job_id"] == kept["job_id"]
    again = sct.job(running)
    assert (again["status"], again["started_at"], again["stdout"]) == ("running", before["started_at"], "before\n")
    assert sct.job(queued)["status"] == "queued"
    assert sct.list(limit=0)["total"] == 6
    gate.touch()
    assert sct.ended(running)["stdout"] == "before\nafter\n"
    assert sct.ended(queued)["stdout"] == "ran\n"
    sct.ended(filler)
    assert sct.http.get("/health").json()["completed_jobs"] == 4


def test_stopping_refuses_new_commands_and_ends_running_ones_as_cancelled(
    make_server: Callable[..., SctServer],
) -> None:
    server = make_server(CONFIG, environment={"RUNNER_SERVER_SHUTDOWN_GRACE_SECONDS": "600"})
    sct = server.client()
    done = sct.run("echo done")
    running = sct.sh("echo partial; exec sleep 1000")
    sct.wrote(running, "partial")
    server.signal(signal.SIGTERM)
    reply = until(
        lambda: (answer := sct.post({"command": "true"})).status_code != 200 and answer, "a refusal of new work"
    )
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) >= 1
    assert set(reply.json()) == {"error", "message"}
    # What is there can still be read.
    assert sct.job(done["job_id"]) == done
    server.signal(signal.SIGTERM)  # The grace is over.
    assert server.wait() == 0
    server.start()
    sct = server.client()
    job = sct.job(running)
    assert (job["status"], job["stdout"], job["error"]) == ("cancelled", "partial\n", "command cancelled")
    assert "exit_code" not in job


def test_old_jobs_are_let_go(make_server: Callable[..., SctServer]) -> None:
    retention = {"jobs_days": 0.5 / 86_400, "sweep_seconds": 0.1}
    sct = make_server({**CONFIG, "retention": retention}).client()
    running = sct.sh("echo up; exec sleep 1000")
    sct.wrote(running, "up")
    old = sct.sh("true")
    until(lambda: sct.http.get(f"{COMMANDS}/{old}").status_code == 404, "the end of its time")
    assert [job["job_id"] for job in sct.list()["commands"]] == [running]
    sct.cancel(running)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be more important than others")
def test_commands_do_not_inherit_a_negative_nice_value(make_server: Callable[..., SctServer]) -> None:
    sct = make_server(CONFIG, launcher=["nice", "-n", "-5"]).client()
    assert sct.run("nice")["stdout"] == "0\n"


def test_a_command_whose_process_is_gone_after_a_restart_has_failed_and_says_so(
    make_server: Callable[..., SctServer],
) -> None:
    server = make_server(CONFIG)
    sct = server.client()
    job_id = sct.sh("echo before; exec sleep 1000")
    sct.wrote(job_id, "before")
    # As when the machine loses its power: the service, its worker, its supervisor and the command.
    for pid in processes_with(str(server.data)) + processes_with(job_id):
        os.kill(pid, signal.SIGKILL)
    server.wait()
    server.start()
    job = server.client().ended(job_id)
    assert (job["status"], job["exit_code"], job["stdout"]) == ("failed", -1, "before\n")
    assert job["error"]


def processes_with(text: str) -> list[int]:
    """Those that have the text on their command line or in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            known = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in known:
            found.append(int(path.name))
    return found


def test_the_configured_default_timeout_is_enforced(make_server: Callable[..., SctServer]) -> None:
    sct = make_server({"security": {"api_keys": [KEY]}, "executor": {"default_timeout_seconds": 1}}).client()
    job = sct.run("sleep 1000")
    assert (job["timeout"], job["error"]) == (1, "command timed out")


def test_pipes_that_are_held_open_keep_no_slot(make_server: Callable[..., SctServer]) -> None:
    sct = make_server({"security": {"api_keys": [KEY]}, "executor": {"max_concurrent_jobs": 1}}).client()
    holder = sct.sh("setsid sleep 1000 & echo holds")
    assert sct.run("echo runs")["stdout"] == "runs\n"
    assert sct.ended(holder)["status"] == "completed"
