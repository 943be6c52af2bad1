"""A running server, and how it stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gateway import Gateway
from runner_service.config import Settings
from runner_service.domain.errors import JobFinished
from runner_service.domain.jobs import JobState
from runner_service.http import HttpServer
from runner_service.local_runner import LocalRunner
from runner_service.ports.store import JobFilter
from runner_service.rpc.server import RpcServer
from runner_service.services.claimer import Claimer
from runner_service.services.dispatch import Dispatch
from runner_service.services.jobs import Jobs

PORT_GRACE_SECONDS = 2.0
"""What is under way at the ports gets this long once all jobs have ended."""
REPORT_SECONDS = 5.0
"""Beyond a job's kill grace, for its report to come in."""


class App:
    """What runs between `app.open_app` and its end: the addresses, and the order of stopping."""

    def __init__(
        self,
        *,
        settings: Settings,
        jobs: Jobs,
        claimer: Claimer,
        dispatch: Dispatch,
        rpc: RpcServer,
        gateway: Gateway,
        http: HttpServer,
        local: LocalRunner | None,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._claimer = claimer
        self._dispatch = dispatch
        self._rpc = rpc
        self._gateway = gateway
        self._http = http
        self._local = local
        self.http_addresses: list[str] = []
        self.grpc_address = ""

    async def stop(self, *, keep_jobs: bool, hurry: asyncio.Event) -> None:
        """Stops in the order that loses nothing: refuse, wait, cancel what the local runner still runs, stop it, close
        the ports. Jobs of other machines go on; queued jobs stay queued. ``hurry`` skips the waiting."""
        self._jobs.stop_accepting()
        self._claimer.stop()
        await self._rpc.refuse()
        if self._local is not None and not keep_jobs:
            runner_id = self._local.runner_id
            if runner_id:
                await self._drain(runner_id, self._settings.server.shutdown_grace_seconds, hurry)
                await self._cancel(runner_id)
                await self._drain(runner_id, self._settings.executor.kill_grace_seconds + REPORT_SECONDS, hurry)
            await self._local.stop(hurry)
        self._dispatch.stop()
        self._gateway.drain()
        await asyncio.gather(self._http.stop(grace=PORT_GRACE_SECONDS), self._rpc.stop(PORT_GRACE_SECONDS))

    async def _running(self, runner_id: str) -> Sequence[str]:
        page = await self._jobs.list(JobFilter(runner_id=runner_id, states=frozenset({JobState.RUNNING})), limit=0)
        return [job.job_id for job in page.jobs]

    async def _drain(self, runner_id: str, seconds: float, hurry: asyncio.Event) -> None:
        deadline = time.monotonic() + seconds
        for job_id in await self._running(runner_id):
            waiting = asyncio.ensure_future(self._jobs.wait(job_id, seconds=max(0.0, deadline - time.monotonic())))
            hurrying = asyncio.ensure_future(hurry.wait())
            await asyncio.wait((waiting, hurrying), return_when=asyncio.FIRST_COMPLETED)
            for task in (waiting, hurrying):
                task.cancel()

    async def _cancel(self, runner_id: str) -> None:
        for job_id in await self._running(runner_id):
            try:
                await self._jobs.cancel(job_id, by="shutdown", reason="the server stopped")
            except JobFinished:
                pass
