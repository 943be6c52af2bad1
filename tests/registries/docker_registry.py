"""Debian's ``docker-registry``: the reference implementation, on loopback, in a directory of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from free_ports import free_port

PATIENCE = 60.0


@contextmanager
def docker_registry(directory: Path, *, htpasswd: str = "") -> Iterator[str]:
    """Runs a registry and gives its URL. ``htpasswd``: lines of name and bcrypt hash that it lets in."""
    port = free_port()
    lines = [
        "version: 0.1",
        "log: {level: error}",
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '127.0.0.1:{port}'}}",
    ]
    if htpasswd:
        (directory / "htpasswd").write_text(htpasswd)
        lines.append(f"auth: {{htpasswd: {{realm: tests, path: {directory}/htpasswd}}}}")
    config = directory / "config.yml"
    config.write_text("\n".join(lines) + "\n")
    program = shutil.which("docker-registry")
    assert program is not None
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log, cwd=directory)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (directory / "log").read_text()
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
