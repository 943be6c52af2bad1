"""A chat over a stream of requests and a stream of replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from runner_service.domain.chats import ChatFrame
from runner_service.services.agents import Chat

Request = TypeVar("Request")


async def talk(
    chat: Chat, requests: AsyncIterator[Request], take: Callable[[Chat, Request], None]
) -> AsyncIterator[ChatFrame]:
    """Yields the frames of a chat while ``take`` gives it each request; ends when the requests have ended and all that
    they asked is answered."""

    async def listen() -> None:
        async for request in requests:
            take(chat, request)
        chat.finish()

    listening = asyncio.create_task(listen())
    try:
        async for frame in chat.frames():
            yield frame
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
