"""Requests of client streams on their way to the server. Whoever streams requests does so through here.

A write that crosses the end of its call fails, and ``call.write`` of grpc.aio, by which it also writes an iterator that
it is given, then makes INTERNAL, "Internal error from Core", of what the server said
(https://github.com/grpc/grpc/issues/36066). Nearly every call that is refused while it is written to ends so. Here
the write fails alone, and the call ends as the server ended it: read it to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpc import aio

Reply = TypeVar("Reply")


async def send(call: Any, request: Message) -> bool:
    """Writes one request, after the one before. False when the call has ended: it says itself with what."""
    if call.done():
        return False
    try:
        await call.wait_for_connection()
        # Below call.write, which would end the call.
        await call._cython_call.send_serialized_message(request.SerializeToString())
    except (aio.AioRpcError, aio.InternalError):
        return False
    except asyncio.CancelledError:
        call.cancel()  # gRPC may be left with half a message
        raise
    return True


async def finish(call: Any) -> None:
    """Says that no more requests come. Does nothing to a call that has ended."""
    try:
        await call.done_writing()
    except aio.InternalError:
        pass  # it has ended just now


async def send_all(call: Any, requests: AsyncIterable[Message]) -> None:
    """Writes requests and finishes, or stops when the call has ended. Raises what making the requests raises."""
    async for request in requests:
        if not await send(call, request):
            return
    await finish(call)


async def upload(call: aio.StreamUnaryCall[Any, Reply], requests: AsyncIterable[Message]) -> Reply:
    """The one reply to a stream of requests.

    Raises:
        AioRpcError: The call failed.
        Exception: What making the requests raises; the call is cancelled.
    """
    try:
        await send_all(call, requests)
        return await call
    finally:
        call.cancel()  # does nothing to a call that is over
