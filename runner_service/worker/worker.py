"""The worker: composes its parts, runs them in one group, and ends the way it was told to.

Its tasks: the Sync loop, the executor's events, the reports, for a local worker the watch for a server that is gone,
and one task per log stream. What an order means is in `orders`, what a failure means in `failures`.
"""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from runner_client.channel import Tls
from runner_service.worker.attempts import Attempts
from runner_service.worker.executors.base import Executor, ExecutorError, ExecutorUnavailable, KillCause
from runner_service.worker.files import Files
from runner_service.worker.identity import WorkerLock, load_identity, next_session_id
from runner_service.worker.leases import Leases
from runner_service.worker.link import Link
from runner_service.worker.machine import boot_id, machine_labels
from runner_service.worker.memory import watch_memory
from runner_service.worker.orders import Orders
from runner_service.worker.reporter import Reporter
from runner_service.worker.shipper import Shipper, Spawn
from runner_service.worker.starts import Starts
from runner_service.worker.sync import Profile, SyncLoop
from runner_service.worker.times import ExitCode, WorkerTimes

log = logging.getLogger(__name__)

LABELS_SECONDS = 30.0
"""Between two looks at what the executor can."""


class Worker:
    """One worker process's whole work. `run` once; `stop` from the same event loop."""

    def __init__(
        self,
        *,
        target: str,
        data_directory: Path,
        executor: Executor,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        slots: int = 1,
        join_token: str = "",
        local: bool = False,
        version: str = "",
        tls: Tls | None = None,
        times: WorkerTimes | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        """
        Args:
            target: Where the server is: ``unix:PATH`` or ``HOST:PORT``.
            local: The server's own worker: ends when it has nothing left and no server comes back.
            tls: How the server is checked; without it nothing is encrypted.
            monotonic: CLOCK_MONOTONIC in seconds; leases and self-stop deadlines are counted on it.
            random: Draws from [0, 1).
        """
        self._target = target
        self._directory = data_directory
        self._executor = executor
        self._declared = machine_labels(labels or {})
        self._labels = dict(self._declared)
        """What every Sync tells: the declared ones, and what the executor adds."""
        self._name = name or self._labels["hostname"] or "runner"
        self._slots = slots
        self._join_token = join_token
        self._local = local
        self._version = version
        self._tls = tls
        self._times = times or WorkerTimes()
        self._monotonic = monotonic
        self._random = random
        self._attempts = Attempts()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._keep_jobs = False
        self._code = ExitCode.OK

    def stop(self, *, keep_jobs: bool = False) -> None:
        """Ends `run`. A second call hurries.

        Args:
            keep_jobs: Leave the jobs to their supervisor, for the worker that comes after; else end them, with reason
                ``shutdown``, ship and report what they leave, and stop the supervisor.
        """
        if self._stop.is_set():
            self._hurry.set()
            return
        self._keep_jobs = keep_jobs
        self._stop.set()

    async def run(self) -> ExitCode:
        """Works until it is stopped, or cannot go on.

        Raises:
            WorkerAlive: Another worker lives on the data directory.
            InvalidTarget: The certificates cannot be read.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(WorkerLock(self._directory))
            link = await stack.enter_async_context(
                Link(self._target, times=self._times, random=self._random, tls=self._tls)
            )
            identity = load_identity(self._directory)
            if identity is not None and identity.holds_at(self._target):
                link.use(identity)  # What is adopted speaks to the server at once, before the first Sync does.
            try:
                await self._look_at_labels()
                known = await self._executor.adopt()
            except ExecutorUnavailable as error:
                log.error("%s", error, extra={"action": "executor_unavailable"})
                return ExitCode.EXECUTOR
            # A fault of this worker is none of its jobs': they are left to the worker that comes after.
            end_all = False
            try:
                async with asyncio.TaskGroup() as group:
                    tasks: set[asyncio.Task[None]] = set()

                    def spawn(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
                        task = group.create_task(work)
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                        return task

                    orders = self._compose(link, spawn)
                    sync = self._sync(link, orders)
                    for attempt in known:
                        orders.adopt(attempt)
                    spawn(sync.run())
                    spawn(orders.reporter.run())
                    spawn(self._follow_executor(orders))
                    spawn(watch_memory(self._attempts))
                    spawn(self._watch_labels())
                    if self._local:
                        spawn(self._watch_for_server(link, sync))
                    await self._stop.wait()
                    if not self._keep_jobs:
                        await self._end_jobs(orders, link, sync)
                    for task in tasks:
                        task.cancel()
                end_all = not self._keep_jobs
            finally:
                await self._executor.close(stop=end_all)
        return self._code

    async def _look_at_labels(self) -> None:
        found = {**self._declared, **await self._executor.labels()}
        if found != self._labels:
            self._labels.clear()  # In place: the Sync loop holds it.
            self._labels.update(found)

    async def _watch_labels(self) -> None:
        """What the machine can may change while the worker lives: an engine starts or stops."""
        while True:
            await asyncio.sleep(LABELS_SECONDS)
            await self._look_at_labels()

    def _compose(self, link: Link, spawn: Spawn) -> Orders:
        # Shipper and reporter tell the orders, which are made from them: hence the late binding.
        shipper = Shipper(
            executor=self._executor,
            link=link,
            times=self._times,
            spawn=spawn,
            shipped=lambda attempt_id: orders.shipped(attempt_id),
            stale=lambda attempt_id: orders.stale(attempt_id),
        )
        reporter = Reporter(
            link,
            verdict=lambda held, answer: orders.verdict(held, answer),
            along=lambda: orders.along(),
            take=lambda came: orders.take(came),
            unheard=lambda: orders.declined(),
        )
        orders = Orders(
            attempts=self._attempts,
            executor=self._executor,
            leases=Leases(self._executor, step=self._times.deadline_step),
            spawn=spawn,
            shipper=shipper,
            reporter=reporter,
            link=link,
            monotonic=self._monotonic,
            starts=Starts(self._executor, Files(link)),
        )
        return orders

    def _sync(self, link: Link, orders: Orders) -> SyncLoop:
        profile = Profile(
            data_directory=self._directory,
            name=self._name,
            labels=self._labels,
            slots=self._slots,
            session_id=next_session_id(self._directory),
            boot_id=boot_id(),
            spool_id=lambda: self._executor.spool_id,
            version=self._version,
            join_token=self._join_token,
        )
        link.session_id = profile.session_id
        return SyncLoop(
            profile,
            link=link,
            attempts=self._attempts,
            orders=orders,
            times=self._times,
            monotonic=self._monotonic,
            give_up=self._give_up,
        )

    def _give_up(self, code: ExitCode) -> None:
        """A stale worker, or one that was deleted, ends its jobs: others have them, or nobody wants them. Those of a
        refused one may be taken up again."""
        self._code = code
        self.stop(keep_jobs=code not in (ExitCode.STALE, ExitCode.DELETED))

    async def _follow_executor(self, orders: Orders) -> None:
        await orders.follow_executor()
        if not self._stop.is_set():
            log.error("Another worker has taken over the jobs: this one stops.", extra={"action": "replaced"})
            self._code = ExitCode.STALE
            self.stop(keep_jobs=True)

    async def _watch_for_server(self, link: Link, sync: SyncLoop) -> None:
        """A local worker ends when nothing of it is alive and no server came back for a while. What it could not report
        stays with the executor, for a later worker."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._times.orphan / 20)
            # A first Sync that is parked is no sign of life, but its connection is.
            if sync.away_since is None or link.connected or self._attempts.any_live:
                continue
            if loop.time() - sync.away_since >= self._times.orphan:
                log.warning("No server and nothing to do: this worker ends.", extra={"action": "orphaned"})
                self.stop()
                return

    async def _end_jobs(self, orders: Orders, link: Link, sync: SyncLoop) -> None:
        """Ends all jobs and waits, within bounds, until the server knows how they ended."""
        orders.accepting = False
        sync.repeat()  # Else every job that is ended now would make room for another one here.
        for held in list(self._attempts):
            if self._code in (ExitCode.STALE, ExitCode.DELETED):
                orders.discard(held)
            elif held.live or held.listed:
                orders.end(held, KillCause.SHUTDOWN)
            else:
                orders.discard(held)  # Offered, and the server was never told that it arrived.
        await self._until(lambda: not self._attempts.any_live, self._times.stop_budget)
        if self._hurry.is_set() and self._attempts.any_live:
            self._hurry.clear()  # It was about the grace. A third signal is about what follows.
            await self._end_grace()
            await self._until(lambda: not self._attempts.any_live, self._times.farewell)
        if link.connected:
            # What was held may be forgotten before its report is answered, and the answer have another one started.
            await self._until(
                lambda: not (len(self._attempts) or orders.reporter.may_bring_starts or sync.owes_word),
                self._times.farewell,
            )

    async def _end_grace(self) -> None:
        try:
            await self._executor.hurry()
        except ExecutorError as error:
            log.error("%s", error, extra={"action": "hurry_failed"})

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Waits, for so long, unless somebody is in a hurry."""
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            async with asyncio.timeout(seconds):
                while not reached() and not hurry.done():
                    self._attempts.fewer.clear()
                    fewer = asyncio.create_task(self._attempts.fewer.wait())
                    await asyncio.wait((hurry, fewer), return_when=asyncio.FIRST_COMPLETED)
                    fewer.cancel()
        except TimeoutError:
            pass
        finally:
            hurry.cancel()
