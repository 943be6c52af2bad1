"""``python large_bodies_app.py``: the habits' gateway as a process of its own, so that its memory is its own."""

from __future__ import annotations

import asyncio
import sys

import conftest  # noqa: F401 (builds the stubs and makes them importable)
import habits_pb2_grpc
from habit_servicer import Habits
from harness import served

from gateway import Gateway, HandlerCapture


async def main() -> None:
    captured = HandlerCapture()
    habits_pb2_grpc.add_HabitServiceServicer_to_server(Habits(), captured)
    async with served(Gateway(handlers=captured)) as port:
        print(port, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
