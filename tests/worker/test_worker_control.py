"""What a server wants of a worker as a whole: pause, restart, health checks; and what it measures by itself."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.rpc import code_pb2
from worker_house import House

from runner.v1.dispatch_service_pb2 import HeldAttempt, WorkerControl
from runner_service.worker import checks
from runner_service.worker.identity import identity_of_token
from runner_service.worker.times import ExitCode


async def test_every_sync_says_how_busy_the_machine_is(house: House) -> None:
    worker = house.worker()
    await house.server.until(lambda: bool(house.server.syncs))
    load = house.server.syncs[0].load
    assert 0 <= load.cpu_percent <= 100
    assert 0 < load.memory_percent <= 100 and 0 < load.disk_percent <= 100
    (registered,) = house.server.registrations
    assert registered.resources.cpu_cores >= 1 and registered.resources.memory_gb > 0
    assert "native" in registered.capabilities
    worker.stop()


async def test_a_pause_is_acknowledged_and_taken_back(house: House) -> None:
    house.server.control = WorkerControl(paused=True)
    house.worker()
    await house.server.until(lambda: any(sync.paused for sync in house.server.syncs))
    house.server.control = WorkerControl()
    house.server.wake()
    await house.server.until(lambda: not house.server.syncs[-1].paused)


async def test_a_check_is_made_once_and_told_once(house: House) -> None:
    house.server.control = WorkerControl(check_number=7)
    house.worker()
    await house.server.until(lambda: any(sync.check_number == 7 for sync in house.server.syncs))
    (told,) = [sync for sync in house.server.syncs if sync.checks]
    assert set(told.checks) == {"disk_space", "memory", "docker_daemon", "kubernetes_api"}
    assert told.checks["memory"].passed and told.checks["memory"].available_gb > 0
    house.server.submit("fake")
    await house.gone()
    assert sum(bool(sync.checks) for sync in house.server.syncs) == 1


async def test_a_restart_ends_the_worker_and_leaves_jobs_to_the_next(house: House) -> None:
    attempt = house.server.submit("fake", "hold")
    worker = house.worker()
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    house.server.control = WorkerControl(restart=True)
    house.server.wake()
    assert await house.ended(worker) is ExitCode.RESTART
    house.server.control = WorkerControl()
    house.worker()
    house.machine.release(attempt.attempt_id)
    await house.finished(attempt)
    assert house.machine.starts == [attempt.attempt_id]


async def test_a_worker_whose_runner_was_deleted_ends_with_its_jobs(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = house.server.submit("fake", "hold")
    worker = house.worker(target=await house.server.start_tcp())
    await house.listed(attempt, HeldAttempt.PHASE_STARTED)
    house.server.refusals["Sync"] = [(code_pb2.NOT_FOUND, "RUNNER_DELETED")]
    house.server.wake()
    other = house.server.submit("fake")  # Ends the parked Sync.
    assert await house.ended(worker) is ExitCode.DELETED
    said = [getattr(one, "action", "") for one in caplog.records]
    assert "deleted" in said and "contact_lost" not in said
    assert other.state != "RUNNING"
    assert len(house.server.registrations) == 1


async def test_the_servers_own_worker_registers_again_when_its_runner_was_deleted(house: House) -> None:
    house.server.refusals["Sync"] = [(code_pb2.NOT_FOUND, "RUNNER_DELETED")]
    house.worker(local=True)
    await house.server.until(lambda: bool(house.server.syncs))
    assert len(house.server.registrations) == 2


def test_a_registration_token_is_an_identity_and_others_are_not() -> None:
    runner_id = "123e4567-e89b-12d3-a456-426614174000"
    identity = identity_of_token(f"reg_token_rw_{runner_id}_secret_more", "host:1")
    assert identity is not None
    assert (identity.runner_id, identity.credential) == (runner_id, f"rw_{runner_id}_secret_more")
    assert identity.holds_at("host:1") and not identity.holds_at("host:2")
    for token in ("", "key", f"rw_{runner_id}_secret", "reg_token_abc123"):
        assert identity_of_token(token, "host:1") is None


class Daemon(http.server.BaseHTTPRequestHandler):
    """Answers /version as docker and Kubernetes do."""

    def do_GET(self) -> None:
        body = json.dumps({"Version": "24.0.0", "gitVersion": "v1.36.0"}).encode()
        self.send_response(200 if self.path == "/version" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "here"

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    path = str(tmp_path / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with socketserver.ThreadingUnixStreamServer(path, Daemon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


async def test_checks_ask_the_docker_daemon_that_the_environment_names(docker: str, tmp_path: Path) -> None:
    found = await checks.run_checks(tmp_path)
    assert (found["docker_daemon"].passed, found["docker_daemon"].version) == (True, "24.0.0")
    Path(docker).unlink()
    found = await checks.run_checks(tmp_path)
    assert not found["docker_daemon"].passed
    assert docker in found["docker_daemon"].message


async def test_checks_ask_the_api_server_of_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    config = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(config))
    assert "no kubeconfig" in (await checks.run_checks(tmp_path))["kubernetes_api"].message
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Daemon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        cluster = {"server": f"http://127.0.0.1:{server.server_port}"}
        config.write_text(
            json.dumps(
                {
                    "current-context": "here",
                    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                }
            )
        )
        found = (await checks.run_checks(tmp_path))["kubernetes_api"]
        server.shutdown()
        thread.join()
    assert (found.passed, found.version) == (True, "v1.36.0")
    found = (await checks.run_checks(tmp_path))["kubernetes_api"]
    assert not found.passed and "does not answer" in found.message
