"""A chat on the command line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from runner_client.cli.session import Session

if TYPE_CHECKING:
    from runner.v1.agent_service_pb2 import ChatAgentRequest


async def converse(session: Session, agent_id: str, message: str | None) -> int:
    """Says ``message``, or each line of standard input once the one before is answered. 1 when an answer failed."""
    from runner.v1.agent_service_pb2 import ChatAgentRequest, ChatAgentResponse, ChatMessage
    from runner_client.cli.output import STDOUT, as_json, print_json, write_all
    from runner_client.cli.report import complain

    answered = asyncio.Event()
    terminal = message is None and sys.stdin.isatty() and not session.json

    async def requests() -> AsyncIterator[ChatAgentRequest]:
        yield ChatAgentRequest(agent_id=agent_id)
        if message is not None:
            yield ChatAgentRequest(message=ChatMessage(content=message))
            return
        while True:
            if terminal:
                await write_all(STDOUT, b"> ")
            line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            if not line:
                return
            if line.strip():
                answered.clear()
                yield ChatAgentRequest(message=ChatMessage(content=line.rstrip("\n")))
                await answered.wait()

    code = 0
    kinds = ChatAgentResponse
    async with session.client() as client:
        async for frame in client.agents.chat(requests()):
            ends = frame.kind in (kinds.KIND_STREAM_END, kinds.KIND_RESPONSE)
            if session.json:
                print_json(as_json(frame))
            elif frame.kind == kinds.KIND_STREAM_CHUNK:
                await write_all(STDOUT, frame.content.encode())
            elif ends:
                await write_all(STDOUT, b"\n")
            elif frame.kind == kinds.KIND_ERROR:
                complain(frame.error)
            if frame.kind == kinds.KIND_ERROR and frame.message_id:
                code, ends = 1, True
            if ends:
                answered.set()
    return code
