"""The HTTP listeners: uvicorn in our event loop, stopped in our order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import uvicorn

from runner_service.connections import HttpConnection, WebSocketConnection
from runner_service.cycle import Outgoing
from runner_service.rpc.server import ServerTls

READINESS_PATH = "/readyz"
"""Where probes ask whether the server takes work. `/health` is a documented API's, and says more."""
BIND_SECONDS = 2.0
_BIND_AGAIN_SECONDS = 0.1


class HttpBindError(Exception):
    """The address cannot be listened on."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the composition root's: uvicorn would stop HTTP before the jobs are drained, and raise the signal
        again afterwards."""
        yield


class HttpServer:
    """One ASGI application on any number of addresses."""

    def __init__(self, app: Any, *, tls: ServerTls | None = None) -> None:
        config = uvicorn.Config(
            app,
            loop="none",
            http=cast(Any, partial(HttpConnection, outgoing=Outgoing())),
            ws=WebSocketConnection,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=True,
            # Whom to believe about the client's address is the gateway's to say; uvicorn would believe all of loopback.
            proxy_headers=False,
            timeout_keep_alive=65,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
            ssl_ca_certs=str(tls.client_ca) if tls and tls.client_ca else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
        )
        self._server = _Server(config)
        self._sockets: list[socket.socket] = []
        self._task: asyncio.Task[None] | None = None

    async def listen(self, address: str) -> str:
        """Binds HOST:PORT and returns what was bound, in the same form.

        Raises:
            HttpBindError: Another process has it, or there is no such host.
        """
        host, _, port = address.rpartition(":")
        deadline = time.monotonic() + BIND_SECONDS
        while True:
            try:
                self._sockets.append(_bind(host.strip("[]"), int(port)))
            except OSError as error:
                if time.monotonic() > deadline or isinstance(error, socket.gaierror):
                    why = f"{error.strerror} — end what listens there, or name another address"
                    raise HttpBindError(f"cannot listen on {address}: {why}") from None
                await asyncio.sleep(_BIND_AGAIN_SECONDS)
            else:
                bound, number = self._sockets[-1].getsockname()[:2]
                return f"[{bound}]:{number}" if ":" in bound else f"{bound}:{number}"

    async def start(self) -> None:
        """Serves from when it returns."""
        self._task = asyncio.create_task(self._server.serve(sockets=self._sockets), name="http")
        while not self._server.started and not self._task.done():
            # uvicorn tells by this flag alone; it is set within one or two turns of the loop.
            await asyncio.sleep(0)
        if self._task.done():
            self._task.result()

    async def stop(self, *, grace: float) -> None:
        """Closes the listeners, gives what is under way ``grace`` seconds, then cuts it. May be called twice."""
        if self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        await self._task


def _bind(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
