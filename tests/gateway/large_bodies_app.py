"""``python large_bodies_app.py BACKEND``: the habits' gateway as a process of its own, with its own memory."""

from __future__ import annotations

import asyncio
import functools
import sys

import conftest  # noqa: F401 (builds the stubs and makes them importable)
import habits_pb2_grpc
from habit_servicer import Habits
from harness import made, served


async def main() -> None:
    register = functools.partial(habits_pb2_grpc.add_HabitServiceServicer_to_server, Habits())
    async with made(sys.argv[1], register) as gateway, served(gateway) as port:
        print(port, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
