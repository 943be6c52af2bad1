"""The network, as `ports.webhooks` asks for it: the standard library's HTTP client in threads."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import time
from collections.abc import Mapping, Sequence

from runner_service.ports.webhooks import Answer, Target
from runner_service.services.webhooks import MAX_ANSWER_BYTES

AT_ONCE = 16
"""Calls under way: an outside that does not answer holds up this many threads and no more."""
_PIECE = 16 * 1024


class _Pinned(http.client.HTTPConnection):
    """A connection to the address that was looked at; the name is only said."""

    def __init__(self, target: Target, deadline: float) -> None:
        super().__init__(target.host, target.port, timeout=max(0.001, deadline - time.monotonic()))
        self._target = target

    def connect(self) -> None:
        self.sock = socket.create_connection((self._target.address, self._target.port), self.timeout)
        if self._target.secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self._target.host)


class Network:
    """`Outside`."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in found]

    async def call(
        self, target: Target, *, method: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
    ) -> Answer:
        async with self._room:
            return await asyncio.to_thread(_call, target, method, body, headers, time.monotonic() + timeout_seconds)


def _call(target: Target, method: str, body: bytes, headers: Mapping[str, str], deadline: float) -> Answer:
    connection = _Pinned(target, deadline)
    try:
        connection.request(method, target.path, body, dict(headers))
        with connection.getresponse() as response:
            return Answer(
                status=response.status,
                content_type=response.getheader("content-type") or "",
                body=_read(response, deadline),
            )
    except http.client.HTTPException as error:
        raise OSError(f"the answer is no HTTP: {type(error).__name__}") from None
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Up to the cap; a side that drips its answer is left at the deadline."""
    body = b""
    while len(body) < MAX_ANSWER_BYTES:
        if time.monotonic() > deadline:
            raise TimeoutError
        piece = response.read1(min(_PIECE, MAX_ANSWER_BYTES - len(body)))
        if not piece:
            break
        body += piece
    return body
