"""Ships the logs of attempts.

What a job writes reaches the server by one of two ways:

* A job that ends within 50 ms (20 ms when somebody follows), with less than 64 KiB, is told whole by its report. That
  is what makes short commands cheap: no stream is opened for them.
* Any other gets a stream (AppendLogs) of its own with its first output after that, so that whoever comes to look sees
  something, or at 64 KiB. It stays open until the end. What is left then, under 64 KiB, goes with the report again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

import grpc
import grpc.aio

from runner_service.domain.logs import JournalCorrupt, LogRecord
from runner_service.worker.executors.base import AttemptUnknown, Executor, ExecutorError
from runner_service.worker.failures import Failure, failure_of
from runner_service.worker.flush import FlushPolicy
from runner_service.worker.link import Link
from runner_service.worker.times import ACKNOWLEDGE_BYTES, INLINE_LOG_BYTES, WorkerTimes
from runner_service.worker.uplink import GivenUp, StreamCut, Uplink
from runner_service.worker.window import START, Mark, Window

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]
"""Starts a task that belongs to the worker's group."""


class Shipper:
    """What all shipments of a worker share."""

    def __init__(
        self,
        *,
        executor: Executor,
        link: Link,
        times: WorkerTimes,
        spawn: Spawn,
        shipped: Callable[[str], None],
        stale: Callable[[str], None],
    ) -> None:
        """
        Args:
            shipped: Called once an ended attempt has so little left to ship that its report can take it.
            stale: Called when the server says that an attempt is not this worker's any more.
        """
        self.executor = executor
        self.link = link
        self.times = times
        self.spawn = spawn
        self.shipped = shipped
        self.stale = stale

    def open(self, attempt_id: str, fence: int, base: Mark = START) -> Shipment:
        """A shipment of an attempt that is about to start, or that was adopted and whose journal begins at ``base``."""
        return Shipment(self, attempt_id, fence, base)


class Shipment:
    """The log of one attempt, on its way."""

    __slots__ = (
        "_dropped",
        "_shipper",
        "_started",
        "_task",
        "_timer",
        "attempt_id",
        "ended",
        "fence",
        "lost",
        "policy",
        "size",
        "wake",
        "whole",
        "window",
    )

    def __init__(self, shipper: Shipper, attempt_id: str, fence: int, base: Mark) -> None:
        self._shipper = shipper
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._dropped = False
        self._started = float("-inf")
        self.attempt_id = attempt_id
        self.fence = fence
        self.size = base.offset
        """Of the journal, as far as known."""
        self.ended = False
        """The size is final."""
        self.whole = False
        """All of it must go by stream, because the server said that something is missing."""
        self.lost = False
        """No more of it can be shipped: the journal cannot be read, or the server takes no more."""
        self.window = Window(base)
        self.policy = FlushPolicy(shipper.times)
        self.wake = asyncio.Event()

    @property
    def unshipped(self) -> int:
        """Bytes of journal that the server has not committed, as far as known."""
        return self.size - self.window.committed.offset

    @property
    def fits_report(self) -> bool:
        """What is left can go with the report."""
        return self.lost or self.unshipped <= 0 or (not self.whole and self.unshipped < INLINE_LOG_BYTES)

    def start(self) -> None:
        """The attempt starts now: the time in which its report alone may tell all begins."""
        self._started = asyncio.get_running_loop().time()

    def grew(self, size: int) -> None:
        """The journal has ``size`` bytes now."""
        if size <= self.size:
            return
        self.size = size
        now = asyncio.get_running_loop().time()
        self.policy.grew(now)
        if self._task is not None:
            self.wake.set()
        elif self.unshipped >= INLINE_LOG_BYTES:
            self._begin()
        elif self._timer is None:
            self._begin_in_time(now)

    def end(self, size: int) -> None:
        """The journal is complete with ``size`` bytes. ``shipped`` is called, now or later."""
        self.size = size
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self.wake.set()
        elif self.fits_report:
            self._shipper.shipped(self.attempt_id)
        else:
            self._begin()

    def ship_whole(self) -> None:
        """The server misses some of an ended log: ships all it does not have, then calls ``shipped`` again."""
        self.whole = True
        self._begin()

    def give_up(self, why: str) -> None:
        """No more of it can be shipped: the report will say so by having no seal."""
        if not self.lost:
            self.lost = True
            log.warning(
                "The log of attempt %s will be incomplete: %s",
                self.attempt_id,
                why,
                extra={"action": "log_given_up", "attempt_id": self.attempt_id},
            )

    def follow(self, followed: bool) -> None:
        """Takes note of whether somebody follows this log."""
        if self.policy.follow(followed) and not self.ended:
            if self._task is not None:
                self.wake.set()
            elif self.size:
                self._begin_in_time(asyncio.get_running_loop().time())

    def drop(self) -> None:
        """Ships nothing any more. May be called twice."""
        self._dropped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def rest(self) -> list[LogRecord]:
        """The records that go with the report.

        Raises:
            JournalCorrupt: The journal is damaged.
            AttemptUnknown: It is not there.
        """
        records: list[LogRecord] = []
        offset = self.window.committed.offset
        while not self.lost and not self.whole and offset < self.size:
            more, offset = await self._shipper.executor.read_log(self.attempt_id, offset, INLINE_LOG_BYTES)
            if not more:
                break
            records += more
        return records

    async def make_room(self) -> None:
        """Lets the executor give up what is with the server, or what will never get there."""
        window = self.window
        if not self.lost:
            news = window.committed.offset - window.base.offset
            if self.ended or news < (INLINE_LOG_BYTES if not window else ACKNOWLEDGE_BYTES):
                return
            window.give_up()
        try:
            await self._shipper.executor.acknowledge(self.attempt_id, self.size if self.lost else window.base.offset)
        except ExecutorError as error:  # Its jobs are gone with it, or another worker's.
            log.debug("%s", error, extra={"action": "acknowledge_failed", "attempt_id": self.attempt_id})

    def settle(self) -> None:
        """All that has to go by stream has arrived; the report can go."""
        self._task = None
        self._shipper.shipped(self.attempt_id)

    def _begin_in_time(self, now: float) -> None:
        times = self._shipper.times
        alone = min(times.first_flush, times.interval_followed) if self.policy.followed else times.first_flush
        if self._timer is not None:
            self._timer.cancel()
        if self._started + alone <= now:
            self._begin()
        else:
            self._timer = asyncio.get_running_loop().call_at(self._started + alone, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is None and not self._dropped:
            self._task = self._shipper.spawn(self._ship())

    async def _ship(self) -> None:
        """Keeps a stream up until everything has gone by it that has to."""
        shipper = self._shipper
        backoff = shipper.link.backoff()
        while not (self.ended and self.fits_report):
            uplink = Uplink(self, executor=shipper.executor, link=shipper.link, times=shipper.times)
            try:
                await uplink.run()
                return
            except grpc.aio.AioRpcError as error:
                failure = failure_of(error)
                if failure is Failure.STALE_ATTEMPT:
                    shipper.stale(self.attempt_id)
                    return
                if failure in (Failure.LOG_SEALED, Failure.BAD_REQUEST):
                    self.give_up(error.details() or failure.name)
            except (JournalCorrupt, AttemptUnknown, GivenUp) as error:
                self.give_up(str(error))
            except StreamCut:
                pass
            if self.lost:
                break
            if uplink.progressed:
                backoff.reset()
            await asyncio.sleep(backoff.next())
        while not self.ended:
            self.wake.clear()
            await self.make_room()
            await self.wake.wait()
        self.settle()
