"""AgentService."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from runner.v1 import agent_service_pb2 as pb
from runner.v1 import agent_service_pb2_grpc
from runner_service.domain.errors import InvalidArgument
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import agents as convert
from runner_service.rpc.convert import paging, times
from runner_service.rpc.convert.talks import talk
from runner_service.rpc.repeats import current_mark
from runner_service.services.agents import AgentEvents, AgentLogs, Agents, Chat, Chats

_PATIENCE_SECONDS = 2.0
"""How long an answer to CreateAgent waits for the process to be there."""


class AgentServicer(agent_service_pb2_grpc.AgentServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, *, agents: Agents, chats: Chats, events: AgentEvents, logs: AgentLogs) -> None:
        self._agents = agents
        self._chats = chats
        self._events = events
        self._logs = logs

    async def CreateAgent(self, request: pb.CreateAgentRequest, context: Any) -> pb.CreateAgentResponse:
        view = await self._agents.create(
            convert.new_agent(request), by=current_principal.get().name, patience=_PATIENCE_SECONDS
        )
        return pb.CreateAgentResponse(agent=convert.agent(view))

    async def GetAgent(self, request: pb.GetAgentRequest, context: Any) -> pb.GetAgentResponse:
        return pb.GetAgentResponse(agent=convert.agent(await self._agents.get(request.agent_id)))

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Any) -> pb.ListAgentsResponse:
        limit = paging.size(request.page_size, default=50, most=500)
        # One more than asked tells whether there is a next page.
        found = await self._agents.list(
            statuses=convert.statuses(request.statuses), limit=limit + 1, after=request.page_token
        )
        page = found[:limit]
        return pb.ListAgentsResponse(
            agents=map(convert.agent, page),
            next_page_token=page[-1].agent.agent_id if len(found) > limit else "",
        )

    async def DeleteAgent(self, request: pb.DeleteAgentRequest, context: Any) -> pb.DeleteAgentResponse:
        by = current_principal.get().name
        view = await self._agents.delete(request.agent_id, by=by, mark=current_mark.get())
        return pb.DeleteAgentResponse(agent=convert.agent(view))

    async def ListAgentLogs(self, request: pb.ListAgentLogsRequest, context: Any) -> pb.ListAgentLogsResponse:
        entries = await self._logs.read(
            request.agent_id,
            limit=paging.size(request.page_size, default=100, most=10_000),
            since=times.micros(request.since),
        )
        return pb.ListAgentLogsResponse(entries=map(convert.log_entry, entries))

    async def WatchAgents(self, request: pb.WatchAgentsRequest, context: Any) -> AsyncIterator[pb.WatchAgentsResponse]:
        async for changed, gone in self._agents.watch():
            yield pb.WatchAgentsResponse(agents=map(convert.agent, changed), gone_agent_ids=gone)

    async def WatchAgentEvents(
        self, request: pb.WatchAgentEventsRequest, context: Any
    ) -> AsyncIterator[pb.WatchAgentEventsResponse]:
        after = paging.event_number(request.last_event_id) if request.last_event_id else request.after
        async for event in self._events.watch(request.agent_id, after=after):
            yield pb.WatchAgentEventsResponse(event=convert.event(event))

    async def ChatAgent(
        self, requests: AsyncIterator[pb.ChatAgentRequest], context: Any
    ) -> AsyncIterator[pb.ChatAgentResponse]:
        first = await anext(aiter(requests), None)
        if first is None:
            raise InvalidArgument(field="agent_id", problem="name the agent in the first request")
        async with self._chats.open(first.agent_id) as chat:
            _take(chat, first)
            async for frame in talk(chat, requests, _take):
                yield convert.frame(frame)


def _take(chat: Chat, request: pb.ChatAgentRequest) -> None:
    kind = request.WhichOneof("say")
    if kind == "message":
        message = request.message
        chat.say(message.content, message_id=message.message_id, stream=not message.whole)
    elif kind == "tool_request":
        asked = request.tool_request
        try:
            parameters = json.loads(asked.parameters or "{}")
        except ValueError:
            chat.refuse("The parameters of the tool are no JSON")
            return
        chat.use_tool(asked.tool, parameters, request_id=asked.request_id)
