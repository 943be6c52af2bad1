"""What a server refuses at its start, and says why."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import httpx
import pytest
from e2e_server import CannotStart, ServerProcess

from runner_service.app import open_app
from runner_service.config import Settings
from runner_service.data_directory import DataDirectoryUnusable


def test_a_second_server_on_a_data_directory_is_refused(server: ServerProcess, tmp_path: Path) -> None:
    second = ServerProcess(tmp_path)
    second.data_dir = server.data_dir
    with pytest.raises(CannotStart) as refused:
        second.start()
    assert refused.value.code == 1
    assert "another server runs on the data directory" in refused.value.errors
    assert str(server.data_dir) in refused.value.errors
    assert "Traceback" not in refused.value.errors


async def test_a_file_in_place_of_the_data_directory_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    file.chmod(0o644)
    with pytest.raises(DataDirectoryUnusable, match="it is not a directory; give another with --data-dir"):
        async with open_app(Settings(data_dir=file)):
            pass
    command = [sys.executable, "-m", "runner_service.worker", "--server", "127.0.0.1:1", "--data-dir", str(file)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"give another with --data-dir" in errors and b"Traceback" not in errors
    assert (file.stat().st_mode & 0o777, file.read_text()) == (0o644, "mine")


@pytest.mark.parametrize("door", ["http", pytest.param("grpc", marks=pytest.mark.slow)])
def test_a_port_in_use_is_refused(own_server: ServerProcess, door: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotStart) as refused:
            own_server.start(**{"http": {"http": [address]}, "grpc": {"grpc": address}}[door])  # type: ignore[arg-type]
    assert refused.value.code == 1
    assert f"cannot listen on {address}" in refused.value.errors
    assert "end what listens there, or name another address" in refused.value.errors
    assert "Traceback" not in refused.value.errors


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"server": {"port": 0}}, "server.port"),
        ({"server": {"port": 70000}}, "server.port"),
        ({"server": {"grpc": "here"}}, "server.grpc"),
        ({"executor": {"max_concurrent_jobs": 0}}, "executor.max_concurrent_jobs"),
        ({"security": {"api_keys": [{"key": "secret-value", "role": "king"}]}}, "security.api_keys"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    own_server: ServerProcess, settings: dict[str, dict[str, object]], named: str
) -> None:
    own_server.settings = settings
    with pytest.raises(CannotStart) as refused:
        own_server.start(grpc="")
    assert refused.value.code == 2
    assert named in refused.value.errors
    assert "secret-value" not in refused.value.errors
    assert "Traceback" not in refused.value.errors


def test_a_newer_database_is_refused(own_server: ServerProcess) -> None:
    import sqlite3

    own_server.start()
    assert own_server.stop() == 0
    database = sqlite3.connect(own_server.data_dir / "runner.db")
    database.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
    database.commit()
    database.close()
    with pytest.raises(CannotStart) as refused:
        own_server.start()
    assert refused.value.code == 1
    assert "Traceback" not in refused.value.errors
    assert refused.value.errors.strip()


async def test_an_ipv6_listener_is_named_as_a_url_has_it(own_server: ServerProcess) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    own_server.start("--no-local-runner", http=["[::1]:0"], grpc="[::1]:0")
    assert own_server.http.startswith("http://[::1]:")
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        assert (await http.get(own_server.http + "/api/v2/jobs")).status_code == 200
    async with own_server.client() as client:
        assert [job async for job in client.list_jobs()] == []
