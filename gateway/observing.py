"""Watching requests from outside: what each was, how it ended, how long it took. Costs nothing where nobody watches."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from gateway.exchange import Exchange
from gateway.observation import Observation, Observer
from gateway.streams import Send

log = logging.getLogger("gateway.access")

CLIENT_LEFT = 499


async def observed(exchange: Exchange, watch: Watch, observers: Sequence[Observer]) -> None:
    """Runs an exchange that sends through ``watch``, and reports on it."""
    began = time.perf_counter()
    try:
        await exchange.run()
    finally:
        endpoint, request = exchange.endpoint, exchange.request
        observation = Observation(
            http_method=request.method,
            path=request.raw_path,
            route=endpoint.template.text if endpoint is not None else "",
            rpc=endpoint.rpc if endpoint is not None else "",
            status=watch.status or CLIENT_LEFT,
            seconds=time.perf_counter() - began,
            bytes_out=watch.bytes_out,
            request_id=exchange.request_id,
            client=request.client_host,
        )
        for observer in observers:
            observer(observation)


class Watch:
    """Passes messages on and remembers what they were."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.bytes_out = 0

    async def send(self, message: dict[str, Any]) -> None:
        """An ASGI ``send``."""
        kind = message["type"]
        if kind in ("http.response.body", "websocket.http.response.body"):
            self.bytes_out += len(message.get("body", b""))
        elif kind == "websocket.send":
            self.bytes_out += len(message.get("text") or message.get("bytes") or b"")
        elif kind == "websocket.accept":
            self.status = 101
        elif "status" in message:
            self.status = message["status"]
            self.bytes_out += len(message.get("body", b""))  # of a whole reply
        await self._send(message)


def access_log(observation: Observation) -> None:
    """An observer that writes a line per request to the logger ``gateway.access``."""
    log.info(
        "%s %s %d in %.1f ms from %s",
        observation.http_method,
        observation.path.encode("unicode_escape").decode(),  # a path may hold what would forge a line
        observation.status,
        observation.seconds * 1000,
        observation.client or "-",
        extra={
            "action": "http_request",
            "route": observation.route,
            "rpc": observation.rpc,
            "status": observation.status,
            "seconds": observation.seconds,
            "bytes_out": observation.bytes_out,
            "request_id": observation.request_id,
            "client": observation.client,
        },
    )
