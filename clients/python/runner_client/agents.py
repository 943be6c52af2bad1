"""Managed agents, as typed calls: :attr:`runner_client.AsyncClient.agents`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from grpc import aio

from runner.v1.agent_service_pb2_grpc import AgentServiceStub
from runner_client.calls import Caller
from runner_client.streams import send_all

if TYPE_CHECKING:
    from runner.v1.agent_pb2 import Agent, AgentEvent, AgentLogEntry
    from runner.v1.agent_service_pb2 import ChatAgentRequest, ChatAgentResponse, WatchAgentsResponse

PAGE_SIZE = 500


class AgentCalls:
    """Managed agents of a server. Made by the client."""

    def __init__(self, channel: aio.Channel, caller: Caller) -> None:
        self._stub = AgentServiceStub(channel)
        self._caller = caller

    async def create(
        self,
        image: str,
        *,
        name: str = "",
        model: str = "",
        parameters: str = "",
        environment: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        required_labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Agent:
        """Makes an agent and starts it. ``parameters``: a JSON object as text; ``secrets``: variable to name of a
        secret. One that cannot be started is made all the same: its ``status`` and ``problem`` say so."""
        from runner.v1.agent_service_pb2 import CreateAgentRequest

        request = CreateAgentRequest(
            image=image,
            name=name,
            model=model,
            parameters=parameters,
            environment=environment,
            secrets=secrets,
            required_labels=required_labels,
            request_id=request_id or str(uuid4()),
        )
        return (await self._caller.unary(self._stub.CreateAgent, request)).agent

    async def get(self, agent_id: str) -> Agent:
        """Returns one agent."""
        from runner.v1.agent_service_pb2 import GetAgentRequest

        return (await self._caller.unary(self._stub.GetAgent, GetAgentRequest(agent_id=agent_id))).agent

    async def list_all(self) -> list[Agent]:
        """Returns all agents, newest first."""
        from runner.v1.agent_service_pb2 import ListAgentsRequest

        request, agents = ListAgentsRequest(page_size=PAGE_SIZE), list["Agent"]()
        while True:
            page = await self._caller.unary(self._stub.ListAgents, request)
            agents += page.agents
            if not page.next_page_token:
                return agents
            request.page_token = page.next_page_token

    async def delete(self, agent_id: str) -> Agent:
        """Stops an agent, its whole process tree, and returns it as it was."""
        from runner.v1.agent_service_pb2 import DeleteAgentRequest

        return (await self._caller.unary(self._stub.DeleteAgent, DeleteAgentRequest(agent_id=agent_id))).agent

    async def logs(self, agent_id: str, *, limit: int = 100) -> list[AgentLogEntry]:
        """Returns the last lines of an agent's log, oldest first."""
        from runner.v1.agent_service_pb2 import ListAgentLogsRequest

        request = ListAgentLogsRequest(agent_id=agent_id, page_size=limit)
        return list((await self._caller.unary(self._stub.ListAgentLogs, request)).entries)

    def watch(self) -> AsyncIterator[WatchAgentsResponse]:
        """Yields all agents, then those that change or go, for ever. A stream that is cut begins with all again."""
        from runner.v1.agent_service_pb2 import WatchAgentsRequest

        return self._caller.stream(self._stub.WatchAgents, WatchAgentsRequest(), passed=lambda message: False)

    async def events(self, agent_id: str, *, after: int = 0) -> AsyncIterator[AgentEvent]:
        """Yields what happens to an agent, first how it is; behind the event ``after`` without a gap or a duplicate."""
        from runner.v1.agent_service_pb2 import WatchAgentEventsRequest, WatchAgentEventsResponse

        request = WatchAgentEventsRequest(agent_id=agent_id, after=after)

        def passed(message: WatchAgentEventsResponse) -> bool:
            request.after = message.event.sequence
            return False

        async for message in self._caller.stream(self._stub.WatchAgentEvents, request, passed=passed):
            yield message.event

    async def chat(self, requests: AsyncIterator[ChatAgentRequest]) -> AsyncIterator[ChatAgentResponse]:
        """Yields the frames of a chat whose first request names the agent. It ends when the requests have ended and all
        is answered. Not resumed: a chat that is cut is over. Raises a :class:`ClientError`."""
        call = self._stub.ChatAgent(metadata=self._caller.metadata)
        writing = asyncio.create_task(_send_all(call, requests))
        try:
            async for frame in call:
                self._caller.reached()
                yield frame
        except aio.AioRpcError as error:
            raise self._caller.met(error) from None
        finally:
            call.cancel()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


async def _send_all(call: Any, requests: AsyncIterator[ChatAgentRequest]) -> None:
    try:
        await send_all(call, requests)
    except BaseException:
        call.cancel()  # whoever makes the requests has failed
        raise
