"""Managed agents, their events, logs and chats."""

from __future__ import annotations

import json
from collections.abc import Sequence

from runner.v1 import agent_pb2, agent_service_pb2, image_pb2
from runner_service.domain.agents import AgentStatus, AgentView
from runner_service.domain.chats import ChatFrame, FrameKind
from runner_service.rpc.convert import times
from runner_service.services.agents import AgentEvent, LogEntry, NewAgent

_STATUSES = {status: agent_pb2.Agent.Status.Value(f"STATUS_{status.name}") for status in AgentStatus}
_STATUSES_BACK = {number: status for status, number in _STATUSES.items()}
_KINDS = {kind: agent_service_pb2.ChatAgentResponse.Kind.Value(f"KIND_{kind.name}") for kind in FrameKind}


def agent(value: AgentView) -> agent_pb2.Agent:
    about = value.agent
    return agent_pb2.Agent(
        agent_id=about.agent_id,
        name=about.name,
        image=about.image,
        image_id=about.image_id,
        status=_STATUSES[value.status],
        problem=value.problem,
        model=about.model,
        parameters=about.parameters,
        tools=[image_pb2.Tool(name=tool.name, description=tool.description) for tool in about.manifest.tools],
        create_time=times.timestamp(about.created_at),
        runner_id=value.job.runner_id,
        usage=agent_pb2.AgentUsage(requests=about.requests, tokens=about.tokens, memory_bytes=about.memory_bytes),
    )


def new_agent(request: agent_service_pb2.CreateAgentRequest) -> NewAgent:
    return NewAgent(
        image=request.image,
        name=request.name,
        model=request.model,
        parameters=request.parameters,
        environment=dict(request.environment),
        secrets=dict(request.secrets),
        required_labels=dict(request.required_labels),
        request_id=request.request_id,
    )


def statuses(values: Sequence[agent_pb2.Agent.Status.ValueType]) -> frozenset[AgentStatus]:
    """Those of a filter; one that says UNSPECIFIED means any."""
    if 0 in values:
        return frozenset()
    return frozenset(_STATUSES_BACK[value] for value in values if value in _STATUSES_BACK)


def event(value: AgentEvent) -> agent_pb2.AgentEvent:
    return agent_pb2.AgentEvent(
        sequence=value.sequence,
        time=times.timestamp(value.at),
        event_type=value.event_type,
        content=value.content,
        data=json.dumps(dict(value.data)),
    )


def log_entry(value: LogEntry) -> agent_pb2.AgentLogEntry:
    return agent_pb2.AgentLogEntry(time=times.timestamp(value.at), level=value.level, message=value.message)


def frame(value: ChatFrame) -> agent_service_pb2.ChatAgentResponse:
    return agent_service_pb2.ChatAgentResponse(
        kind=_KINDS[value.kind],
        time=times.timestamp(value.at),
        event_type=value.event_type,
        message_id=value.message_id,
        response_id=value.response_id,
        request_id=value.request_id,
        content=value.content or "",
        chunk_index=value.chunk_index or 0,
        tools_used=value.tools_used or (),
        ok=value.ok and value.kind is FrameKind.TOOL_RESULT,
        data=json.dumps(dict(value.data)) if value.data else "",
        error=value.error,
    )
