"""``python -m benchmarks.http_load HOST:PORT SECONDS CONNECTIONS`` with one HTTP request on standard input.

Sends the request again and again on every connection, one at a time on each, and prints replies per second. It reads
no more of a reply than its status and its length, so that it is never the slower side.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from benchmarks.figures import Stopwatch

WARM_UP_SECONDS = 0.2


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._reply = b""
        self.replies = 0
        self.failure = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._reply += data
        head, found, body = self._reply.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self.failure = self._reply.decode(errors="replace")
            self._transport.close()
            return
        self.replies += 1
        self._reply = b""
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.failure = self.failure or f"the connection was closed: {exc}"


def _length(head: bytes) -> int:
    at = head.index(b"content-length: ") + 16
    end = head.find(b"\r\n", at)
    return int(head[at : end if end > 0 else len(head)])


async def _load(address: str, seconds: float, connections: int, request: bytes) -> float:
    loop, (host, port) = asyncio.get_running_loop(), address.split(":")
    made = [
        (await loop.create_connection(lambda: _Connection(request), host, int(port)))[1] for _ in range(connections)
    ]
    await asyncio.sleep(WARM_UP_SECONDS)
    before, stopwatch = sum(connection.replies for connection in made), Stopwatch()
    await asyncio.sleep(seconds)
    rate = (sum(connection.replies for connection in made) - before) / stopwatch.seconds
    if failures := [connection.failure for connection in made if connection.failure]:
        raise RuntimeError(failures[0])
    return rate


if __name__ == "__main__":
    print(uvloop.run(_load(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.stdin.buffer.read())))
