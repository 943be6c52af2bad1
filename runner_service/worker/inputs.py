"""Brings the input of an attempt from the server to the executor: a stream for each attempt that takes any."""

from __future__ import annotations

import asyncio
import logging

import grpc.aio

from runner.v1 import dispatch_service_pb2 as dispatch
from runner_client.streams import send
from runner_service.domain.inputs import InputRecord, placed
from runner_service.worker.executors.base import Executor, ExecutorError
from runner_service.worker.failures import Failure, failure_of
from runner_service.worker.link import InputsCall, Link
from runner_service.worker.wire import input_record_of

log = logging.getLogger(__name__)


class InputFeed:
    """The input of one attempt on its way. `run` is its task, until it is cancelled at the attempt's end.

    ``received``: the place behind what the executor has; ``written``: behind what the processes were given.
    """

    def __init__(
        self, attempt_id: str, fence: int, *, executor: Executor, link: Link, received: int = 0, written: int = 0
    ) -> None:
        self._attempt_id = attempt_id
        self._fence = fence
        self._executor = executor
        self._link = link
        self._received = received
        self._written = written
        self._room = asyncio.Event()
        self._news = asyncio.Event()

    def wrote(self, written: int) -> None:
        """The processes were given everything before this place."""
        self._written = max(self._written, written)
        self._room.set()
        self._news.set()

    async def run(self) -> None:
        """Carries input until the attempt is over, for the server or the executor."""
        backoff = self._link.backoff()
        while True:
            before = self._received
            try:
                if await self._carry():
                    return
            except grpc.aio.AioRpcError as error:
                # What is to become of the attempt is said by Sync and by the log; here it only gets no more.
                if failure_of(error) in (Failure.STALE_ATTEMPT, Failure.BAD_REQUEST):
                    return
                log.debug("An input stream failed: %s", error.code(), extra={"action": "input_cut"})
            except ExecutorError as error:
                log.debug("%s", error, extra={"action": "input_cut", "attempt_id": self._attempt_id})
            if self._received > before:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _carry(self) -> bool:
        """One stream; True when the executor takes no more."""
        call = self._link.stream_inputs()
        telling: asyncio.Task[None] | None = None
        try:
            await send(
                call,
                dispatch.StreamInputsRequest(
                    runner_id=self._link.runner_id,
                    attempt_id=self._attempt_id,
                    fence=self._fence,
                    offset=self._received,
                    written_offset=self._written,
                ),
            )
            telling = asyncio.create_task(self._tell(call, self._written))
            while isinstance(reply := await call.read(), dispatch.StreamInputsResponse):
                if not await self._give(reply.offset, [input_record_of(record) for record in reply.records]):
                    return True
            return False
        finally:
            call.cancel()
            if telling is not None:
                telling.cancel()
                await asyncio.wait((telling,))

    async def _give(self, offset: int, records: list[InputRecord]) -> bool:
        """Has the executor take all of it; False when it takes no more."""
        end = [one.behind for one in placed(records, offset)][-1]
        while True:
            self._room.clear()
            received = await self._executor.feed(self._attempt_id, offset, records)
            if received is None:
                return False
            self._received = max(self._received, received)
            if received >= end:
                return True
            await self._room.wait()

    async def _tell(self, call: InputsCall, told: int) -> None:
        """Says how far the processes are, once per turn at most."""
        while True:
            while told < self._written:
                told = self._written
                if not await send(call, dispatch.StreamInputsRequest(written_offset=told)):
                    return  # The reader knows why.
            self._news.clear()
            await self._news.wait()
