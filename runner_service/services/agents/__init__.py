"""Use cases of managed agents: their lives, chats, events and logs."""

from runner_service.services.agents.chat import Chat, Chats
from runner_service.services.agents.events import AgentEvent, AgentEvents, memory_text
from runner_service.services.agents.links import AgentLinks
from runner_service.services.agents.logs import AgentLogs, LogEntry
from runner_service.services.agents.service import Agents, NewAgent

__all__ = [
    "AgentEvent",
    "AgentEvents",
    "AgentLinks",
    "AgentLogs",
    "Agents",
    "Chat",
    "Chats",
    "LogEntry",
    "NewAgent",
    "memory_text",
]
