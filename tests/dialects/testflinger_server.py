"""The whole server in a thread of the test's process, for the tests of the Testflinger façade: real HTTP, no runner."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from argon2 import PasswordHasher

from runner_service.app import open_app
from runner_service.config import Settings
from runner_service.domain.ids import new_id

PATIENCE = 60.0
NIL = "00000000-0000-0000-0000-000000000000"
CLIENTS = [
    {"client_id": "boss", "secret": "boss-secret-123456", "role": "admin", "max_priority": {"*": 100}},
    {
        "client_id": "maker",
        "secret": "maker-secret-12345",
        "role": "contributor",
        "max_priority": {"*": 1, "fast": 10},
        "max_reservation_time": {"*": 30_000},
    },
    {"client_id": "other", "secret": "other-secret-12345", "role": "contributor"},
    {"client_id": "chief", "secret": "chief-secret-12345", "role": "manager"},
    {"client_id": "robot", "secret": "robot-secret-12345", "role": "agent"},
    {"client_id": "robot-2", "secret": "robot-secret-23456", "role": "agent"},
]


_cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASHED = [{**client, "secret": _cheap.hash(str(client["secret"]))} for client in CLIENTS]
"""As the settings may have them: hashed, here so that it costs next to nothing."""


class LabServer:
    """A server on a free port of this machine, with clients of every role."""

    def __init__(
        self,
        directory: Path,
        *,
        security: Mapping[str, Any] | None = None,
        webhooks: Mapping[str, Any] | None = None,
        **testflinger: Any,
    ) -> None:
        self._settings = Settings.model_validate(
            {
                "data_dir": directory / "data",
                "server": {"http": ["127.0.0.1:0"], "grpc": "127.0.0.1:0"},
                "executor": {"local_runner": False, "max_queued_jobs": 20_000},
                "testflinger": {"clients": HASHED, **testflinger},
                "security": dict(security or {}),
                "webhooks": dict(webhooks or {}),
            }
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._failure: BaseException | None = None
        self.url = self.grpc = ""

    async def _serve(self) -> None:
        try:
            async with open_app(self._settings) as app:
                self.loop = asyncio.get_running_loop()
                self._stop = asyncio.Event()
                self.url, self.grpc = f"http://{app.http_addresses[0]}", app.grpc_address
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._ready.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        assert self._failure is None, self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def http(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, **options)


def basic(client_id: str) -> str:
    """The credentials of one of `CLIENTS`."""
    (secret,) = [client["secret"] for client in CLIENTS if client["client_id"] == client_id]
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def queue_name() -> str:
    """A queue that no other test uses."""
    return f"queue-{new_id()}"
