"""The façade servicer of SentinelStacks' agents and their two WebSockets: translate, call a service, translate."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from google.api import annotations_pb2

from runner.dialects.sentinelstacks.v1 import agent_pb2, agent_service_pb2_grpc
from runner.dialects.sentinelstacks.v1 import agent_service_pb2 as pb
from runner_service.dialects.sentinelstacks import words
from runner_service.domain.agents import AgentView
from runner_service.domain.chats import ChatFrame, FrameKind
from runner_service.domain.errors import InvalidArgument
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import times
from runner_service.rpc.convert.talks import talk
from runner_service.services.agents import AgentEvents, AgentLogs, Agents, Chat, Chats, NewAgent

_PATIENCE_SECONDS = 2.0
"""How long the answer to a POST waits for the process to be there."""


def _path(method: str) -> str:
    """Where a method is served, as its proto says."""
    descriptor = pb.DESCRIPTOR.services_by_name["AgentService"].methods_by_name[method]
    path: str = descriptor.GetOptions().Extensions[annotations_pb2.http].get
    return path


_CHAT, _EVENTS = _path("Chat"), _path("WatchEvents")


class SentinelAgentServicer(agent_service_pb2_grpc.AgentServiceServicer):
    """SentinelStacks' agent endpoints. It shows the agents of every API of this service that makes them."""

    def __init__(self, *, agents: Agents, chats: Chats, events: AgentEvents, logs: AgentLogs) -> None:
        self._agents = agents
        self._chats = chats
        self._events = events
        self._logs = logs

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Any) -> pb.ListAgentsResponse:
        wanted = words.statuses(request.status)
        views = await self._agents.list(statuses=wanted) if wanted else ()
        return pb.ListAgentsResponse(agents=[_agent(view, request.host, request.scheme) for view in views])

    async def CreateAgent(self, request: pb.CreateAgentRequest, context: Any) -> agent_pb2.Agent:
        if not request.image:
            raise InvalidArgument("Image is required", field="image", problem="name the image")
        wanted = NewAgent(
            image=request.image,
            parameters=request.parameters,
            environment=dict(request.environment),
            origin=words.ORIGIN,
        )
        view = await self._agents.create(wanted, by=current_principal.get().name, patience=_PATIENCE_SECONDS)
        return _agent(view, request.host, request.scheme)

    async def GetAgent(self, request: pb.GetAgentRequest, context: Any) -> agent_pb2.Agent:
        return _agent(await self._agents.get(request.id), request.host, request.scheme)

    async def DeleteAgent(self, request: pb.DeleteAgentRequest, context: Any) -> pb.DeleteAgentResponse:
        await self._agents.delete(request.id, by=current_principal.get().name)
        return pb.DeleteAgentResponse(id=request.id, status="stopping")

    async def ListAgentLogs(self, request: pb.ListAgentLogsRequest, context: Any) -> pb.ListAgentLogsResponse:
        limit = words.number(request.limit, default=words.LOG_LIMIT, most=words.LOG_MOST)
        entries = await self._logs.read(request.id, limit=limit, since=words.since(request.since))
        return pb.ListAgentLogsResponse(
            logs=[
                pb.ListAgentLogsResponse.Entry(
                    timestamp=times.timestamp(entry.at), level=entry.level, message=entry.message
                )
                for entry in entries
            ]
        )

    async def Chat(self, requests: AsyncIterator[pb.ChatRequest], context: Any) -> AsyncIterator[pb.ChatResponse]:
        head = await anext(aiter(requests))
        async with self._chats.open(head.id) as chat:
            async for frame in talk(chat, requests, _take):
                yield pb.ChatResponse(frame=_frame(frame))

    async def WatchEvents(self, request: pb.WatchEventsRequest, context: Any) -> AsyncIterator[pb.WatchEventsResponse]:
        async for event in self._events.watch(request.id):
            yield pb.WatchEventsResponse(
                event=agent_pb2.Event(
                    type="event",
                    event_type=event.event_type,
                    timestamp=times.timestamp(event.at),
                    content=event.content,
                    data=json.dumps(dict(event.data)),
                )
            )


def _take(chat: Chat, request: pb.ChatRequest) -> None:
    """One frame of the client."""
    if request.bad_frame:
        chat.refuse("Invalid message")
    elif request.type == "message":
        stream = request.stream if request.HasField("stream") else True
        chat.say(request.content, message_id=request.message_id, stream=stream)
    elif request.type == "tool_request":
        chat.use_tool(request.tool, json.loads(request.parameters or "{}"), request_id=request.request_id)
    else:
        chat.refuse("Unknown message type", message_id=request.message_id)


def _agent(view: AgentView, host: str, scheme: str) -> agent_pb2.Agent:
    agent = view.agent
    base = f"{'wss' if scheme == 'https' else 'ws'}://{host}"
    return agent_pb2.Agent(
        id=agent.agent_id,
        name=agent.name,
        image=agent.image,
        status=view.status.value,
        created_at=times.timestamp(agent.created_at),
        model=agent.model,
        is_multimodal=agent.manifest.multimodal,
        endpoints=agent_pb2.Agent.Endpoints(
            chat=base + _CHAT.format(id=agent.agent_id), events=base + _EVENTS.format(id=agent.agent_id)
        ),
    )


def _frame(frame: ChatFrame) -> agent_pb2.ChatFrame:
    message = agent_pb2.ChatFrame(
        type=frame.kind.value,
        event_type=frame.event_type,
        timestamp=times.timestamp(frame.at),
        message_id=frame.message_id,
        response_id=frame.response_id,
        request_id=frame.request_id,
        content=frame.content,
        chunk_index=frame.chunk_index,
        error=frame.error,
        data=json.dumps(dict(frame.data)) if frame.data else "",
    )
    if frame.tools_used is not None:
        message.tools_used = json.dumps(frame.tools_used)
    if frame.kind is FrameKind.TOOL_RESULT:
        message.status = "success" if frame.ok else "error"
    return message
