"""Many workers in one process, as far as a server sees: each has a connection of its own and keeps a Sync parked.

``python faults_crowd.py HOST:PORT COUNT``. For each line on stdin it answers with one JSON object: how many have a Sync
parked since they last came into contact, how often contact was lost, and every error that a worker would not bear.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import uuid
from collections import Counter

import grpc
import grpc.aio

from runner.v1.dispatch_service_pb2 import SyncRequest
from runner.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from runner.v1.runner_service_pb2 import RegisterRunnerRequest
from runner.v1.runner_service_pb2_grpc import RunnerServiceStub
from runner_service.worker.link import channel_options

BORNE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
PARKED_SECONDS = 1.0
"""A Sync that has been under way for this long is parked."""


class Crowd:
    """All of them."""

    def __init__(self, target: str, count: int) -> None:
        self.target = target
        self.count = count
        self.parked: set[int] = set()
        self.cuts = 0
        self.errors: Counter[str] = Counter()
        self.borne: Counter[str] = Counter()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                group.create_task(self._worker(number))

    async def _worker(self, number: int) -> None:
        channel = grpc.aio.insecure_channel(self.target, channel_options(self.target))
        runners, dispatch = RunnerServiceStub(channel), DispatchServiceStub(channel)
        registered = await self._call(lambda: runners.RegisterRunner(_registration(number), wait_for_ready=True))
        metadata = (("authorization", f"Bearer {registered.credential}"),)
        syncs = 0
        loop = asyncio.get_running_loop()

        def sync() -> object:
            nonlocal syncs
            syncs += 1
            request = SyncRequest(
                runner_id=registered.runner.runner_id, session_id=session, slots=1, sync_number=syncs, boot_id="b"
            )
            return dispatch.Sync(request, metadata=metadata, timeout=40.0, wait_for_ready=True)

        session = str(uuid.UUID(int=number))
        while True:
            parking = loop.call_later(PARKED_SECONDS, self.parked.add, number)
            try:
                await self._call(sync, lambda: self.parked.discard(number))
            finally:
                parking.cancel()

    async def _call(self, make, on_cut=lambda: None):  # type: ignore[no-untyped-def]
        """Makes a call until it succeeds, with the pauses of a worker."""
        failures = 0
        while True:
            try:
                return await make()
            except grpc.aio.AioRpcError as error:
                on_cut()
                self.cuts += 1
                (self.borne if error.code() in BORNE else self.errors)[f"{error.code().name}: {error.details()}"] += 1
                failures += 1
                await asyncio.sleep(random.random() * min(5.0, 0.1 * 2 ** min(failures - 1, 30)))


def _registration(number: int) -> RegisterRunnerRequest:
    return RegisterRunnerRequest(name=f"crowd-{number:05}", slots=1, labels={"crowd": "yes"})


async def _main(target: str, count: int) -> None:
    crowd = Crowd(target, count)
    running = asyncio.create_task(crowd.run())
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        if running.done():
            running.result()
        said = {
            "parked": len(crowd.parked),
            "cuts": crowd.cuts,
            "errors": dict(crowd.errors),
            "borne": dict(crowd.borne),
        }
        print(json.dumps(said), flush=True)  # noqa: T201
    running.cancel()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
