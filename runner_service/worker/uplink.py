"""One AppendLogs stream: sends batches, a window of them ahead of the acknowledgements."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runner.v1 import dispatch_service_pb2 as dispatch
from runner_client.streams import finish, send
from runner_service.domain import crashpoints
from runner_service.domain.logs import JournalCorrupt
from runner_service.worker.executors.base import Executor
from runner_service.worker.link import AppendCall, Link
from runner_service.worker.times import BATCH_BYTES, WINDOW, WorkerTimes
from runner_service.worker.window import Mark
from runner_service.worker.wire import records_to_wire

if TYPE_CHECKING:
    from runner_service.worker.shipper import Shipment


class StreamCut(Exception):
    """The stream ended, or stood still, before everything was acknowledged."""


class GivenUp(Exception):
    """The server asks again for what it had acknowledged, which is not here any more."""

    def __init__(self) -> None:
        super().__init__("the server asks again for what it had acknowledged, which is not here any more")


class Uplink:
    """Ships one log from where the server says, until the attempt has ended and its report can take the rest."""

    def __init__(self, shipment: Shipment, *, executor: Executor, link: Link, times: WorkerTimes) -> None:
        self._shipment = shipment
        self._executor = executor
        self._link = link
        self._times = times
        self._moved = 0.0
        """When an acknowledgement came last, or the first batch since went out."""
        self.progressed = False
        """The server has answered."""

    async def run(self) -> None:
        """Settles the shipment when the attempt has ended, nothing is under way and the rest fits the report.

        Raises:
            AioRpcError: The stream failed.
            StreamCut: It ended without an error, or stood still.
            JournalCorrupt: The journal is damaged.
            AttemptUnknown: The executor does not have it.
            GivenUp: The server goes back behind what it had committed.
        """
        call = self._link.append_logs()
        try:
            skip_below = await self._open(call)
            acknowledgements = asyncio.create_task(self._acknowledgements(call))
            try:
                await self._send(call, skip_below, acknowledgements)
                await finish(call)
                self._shipment.settle()
                await asyncio.wait((acknowledgements,), timeout=1.0)  # Lets the server end the call by itself.
            finally:
                acknowledgements.cancel()
                await asyncio.wait((acknowledgements,))
                if not acknowledgements.cancelled():
                    acknowledgements.exception()
        finally:
            call.cancel()

    async def _open(self, call: AppendCall) -> int:
        shipment = self._shipment
        opening = dispatch.AppendLogsRequest(
            runner_id=self._link.runner_id, attempt_id=shipment.attempt_id, fence=shipment.fence
        )
        try:
            async with asyncio.timeout(self._times.ack_timeout):
                await send(call, opening)
                reply = await call.read()
        except TimeoutError:
            raise StreamCut from None
        if not isinstance(reply, dispatch.AppendLogsResponse):
            raise StreamCut
        self.progressed = True
        if shipment.window.resume(reply.next_sequence).sequence > reply.next_sequence:
            raise GivenUp
        shipment.policy.follow(reply.followed)
        return reply.next_sequence

    async def _acknowledgements(self, call: AppendCall) -> None:
        shipment = self._shipment
        while isinstance(reply := await call.read(), dispatch.AppendLogsResponse):
            if not shipment.window.acknowledge(reply.next_sequence):
                return  # It has less than it said: begin again where it says then.
            crashpoints.reached("worker.acknowledged")
            shipment.policy.follow(reply.followed)
            self._moved = asyncio.get_running_loop().time()
            shipment.wake.set()
            await shipment.make_room()

    async def _send(self, call: AppendCall, skip_below: int, acknowledgements: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        acknowledgements.add_done_callback(lambda _: self._shipment.wake.set())
        shipment, window = self._shipment, self._shipment.window
        while not (shipment.ended and not window and shipment.fits_report):
            if acknowledgements.done():
                acknowledgements.result()
                raise StreamCut
            shipment.wake.clear()
            now = loop.time()
            due = self._due(now)
            if due <= now and await self._send_batch(call, skip_below, acknowledgements):
                continue
            if window:
                if now >= self._moved + self._times.ack_timeout:
                    raise StreamCut
                due = min(due if due > now else float("inf"), self._moved + self._times.ack_timeout)
            alarm = loop.call_at(due, shipment.wake.set) if now < due < float("inf") else None
            await shipment.wake.wait()
            if alarm is not None:
                alarm.cancel()

    def _due(self, now: float) -> float:
        """When to send the next batch; infinity: not before something happens."""
        shipment, window = self._shipment, self._shipment.window
        unsent = shipment.size - window.sent.offset
        if unsent <= 0 or len(window) >= WINDOW:
            return float("inf")
        if shipment.ended:
            # The last bytes go with the report, once what is under way has arrived.
            return float("inf") if shipment.fits_report else now
        return shipment.policy.due(unsent)

    async def _send_batch(self, call: AppendCall, skip_below: int, acknowledgements: asyncio.Task[None]) -> bool:
        """Sends what there is, at most a batch. False when the journal has nothing to give yet."""
        shipment, window = self._shipment, self._shipment.window
        records, behind = await self._executor.read_log(shipment.attempt_id, window.sent.offset, BATCH_BYTES)
        if not records:
            if shipment.ended:
                raise JournalCorrupt(window.sent.offset)  # It is shorter than it was said to be.
            return False
        now = asyncio.get_running_loop().time()
        shipment.policy.flushed(now)
        end = Mark(records[-1].sequence + 1, behind)
        if end.sequence <= skip_below:
            window.skip(end)
            await shipment.make_room()
            return True
        if records[0].sequence < skip_below:
            records = [record for record in records if record.sequence >= skip_below]
        if not window:
            self._moved = now
        window.push(end)
        if not await send(call, dispatch.AppendLogsRequest(records=records_to_wire(records))):
            await acknowledgements  # The reader knows why it has ended.
            raise StreamCut
        return True
