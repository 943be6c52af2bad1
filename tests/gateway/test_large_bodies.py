"""300 MB each way, in constant memory."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness import Raw

HERE = Path(__file__).resolve().parent
SIZE = 300 * 1024 * 1024
PIECE = bytes(1024 * 1024)
MOST_GROWTH = 30 * 1024 * 1024


class Process:
    """The gateway, and the most memory that it has ever used."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    @property
    def peak(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture
async def app(backend: str) -> AsyncIterator[Process]:
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc to read memory from")
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, str(HERE / "large_bodies_app.py"), backend]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        yield Process(process, int(await asyncio.to_thread(process.stdout.readline)))


@pytest.mark.slow
@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
async def test_uploads_take_no_memory(app: Process, form: bool) -> None:
    before, after, kind = b"", b"", "application/octet-stream"
    if form:
        before = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        after, kind = b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
    raw, start = await Raw.dial(app.port), app.peak
    await raw.send(
        f"POST /h/large HTTP/1.1\nContent-Length: {SIZE + len(before) + len(after)}\nContent-Type: {kind}", before
    )
    for _ in range(SIZE // len(PIECE)):
        raw.writer.write(PIECE)
        await raw.writer.drain()
    raw.writer.write(after)
    assert "200 OK" in await raw.head()
    report = json.loads(await raw.until(b"}"))
    await raw.close()
    assert (report["size"], report["largest"] <= 65_536) == (SIZE, True)
    assert app.peak - start < MOST_GROWTH


@pytest.mark.slow
async def test_downloads_take_no_memory(app: Process) -> None:
    raw, start = await Raw.dial(app.port), app.peak
    await raw.send(f"GET /h/large/{SIZE} HTTP/1.1\nConnection: close")
    assert f"content-length: {SIZE}" in await raw.head()
    received = 0
    while piece := await raw.reader.read(1 << 20):
        received += len(piece)
    await raw.close()
    assert received == SIZE
    assert app.peak - start < MOST_GROWTH
