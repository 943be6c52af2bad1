"""The line protocol between the service and an agent: JSON objects, one a line, on its standard input and output.

What each line means, and what an agent must do, is told in ``docs/how-to/write-an-agent.md``. Ids are opaque to the
agent: it sends back what it was given. They carry what the service needs to make sense of an answer, so that any
server, also one that was restarted in between, reads it the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

MAX_LINE_BYTES = 1 << 20
"""A longer line is none of the protocol."""
_EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]{0,49}")
_RESERVED_EVENTS = frozenset({"agent_status", "connection_established", "message_processed", "error"})
"""What the service alone can say of an agent."""


class LineKind(StrEnum):
    """What a line of an agent is."""

    CHUNK = "chunk"
    """The next piece of an answer."""
    END = "end"
    """The end of an answer."""
    TOOL_RESULT = "tool_result"
    """The answer to a tool request."""
    ERROR = "error"
    """A message, a tool request or the agent itself failed."""
    EVENT = "event"
    """Something worth telling."""
    USAGE = "usage"
    """What an answer has cost."""
    LOG = "log"
    """A sentence for the log."""
    NONSENSE = "nonsense"
    """No line of the protocol; what it holds is in ``content``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLine:
    """A line of an agent, understood."""

    kind: LineKind
    subject: str = ""
    """The id that it answers to, as the agent was given it; empty: none."""
    content: str = ""
    """Text of a chunk, event, log or error; of END: what is left of the answer."""
    event_type: str = ""
    level: str = "info"
    tokens: int = 0
    tools_used: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    """Of an event."""
    result: Any = None
    """Of a tool."""


class MessageRef(NamedTuple):
    """What the id of a message on the wire stands for."""

    response_id: str
    message_id: str

    def encode(self) -> str:
        return f"{self.response_id}:{self.message_id}"


class ToolRef(NamedTuple):
    """What the id of a tool request on the wire stands for."""

    unique: str
    tool: str
    request_id: str

    def encode(self) -> str:
        return f"{self.unique}:{quote(self.tool, safe='')}:{self.request_id}"


def read_message_ref(subject: str) -> MessageRef:
    response_id, colon, message_id = subject.partition(":")
    return MessageRef(response_id, message_id if colon else subject)


def read_tool_ref(subject: str) -> ToolRef:
    unique, _, rest = subject.partition(":")
    tool, _, request_id = rest.partition(":")
    return ToolRef(unique, unquote(tool), request_id)


def write_message(ref: MessageRef, *, chat_id: str, content: str) -> bytes:
    """What somebody says in a chat."""
    return _line(type="message", message_id=ref.encode(), chat_id=chat_id, content=content)


def write_tool_request(ref: ToolRef, *, chat_id: str, parameters: object) -> bytes:
    """Asks for a tool that the image declares."""
    return _line(type="tool_request", request_id=ref.encode(), chat_id=chat_id, tool=ref.tool, parameters=parameters)


def write_close(chat_id: str) -> bytes:
    """A chat has ended: what is remembered of it can be forgotten."""
    return _line(type="close", chat_id=chat_id)


def _line(**members: object) -> bytes:
    # ASCII, so that no agent is at the mercy of its locale.
    return (json.dumps(members, separators=(",", ":")) + "\n").encode()


def read_line(line: bytes) -> AgentLine | None:
    """Understands one line; ``None`` for an empty one. Whatever does not fit is NONSENSE, never an error."""
    text = line.decode(errors="replace").strip()
    if not text:
        return None
    nonsense = AgentLine(kind=LineKind.NONSENSE, content=text[:2000])
    if len(line) > MAX_LINE_BYTES:
        return nonsense
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return nonsense
    if not isinstance(members, dict):
        return nonsense
    try:
        return _READERS[members.get("type", "")](members)
    except (KeyError, TypeError, ValueError):
        return nonsense


def _chunk(members: Mapping[str, Any]) -> AgentLine:
    return AgentLine(kind=LineKind.CHUNK, subject=_text(members["message_id"]), content=_text(members["content"]))


def _end(members: Mapping[str, Any]) -> AgentLine:
    return AgentLine(
        kind=LineKind.END,
        subject=_text(members["message_id"]),
        content=_text(members.get("content", "")),
        tools_used=tuple(map(_text, members.get("tools_used", ()))),
    )


def _tool_result(members: Mapping[str, Any]) -> AgentLine:
    subject = _text(members["request_id"])
    if "error" in members:
        return AgentLine(kind=LineKind.ERROR, subject=subject, content=_text(members["error"]))
    return AgentLine(kind=LineKind.TOOL_RESULT, subject=subject, result=members["result"])


def _error(members: Mapping[str, Any]) -> AgentLine:
    subject = members.get("message_id") or members.get("request_id") or ""
    return AgentLine(kind=LineKind.ERROR, subject=_text(subject), content=_text(members["error"]))


def _event(members: Mapping[str, Any]) -> AgentLine:
    event_type = _text(members["event_type"])
    data = members.get("data", {})
    if not _EVENT_TYPE.fullmatch(event_type) or event_type in _RESERVED_EVENTS or not isinstance(data, dict):
        raise ValueError("not an event of an agent")
    subject = _text(members.get("message_id", ""))
    content = _text(members.get("content", ""))
    return AgentLine(kind=LineKind.EVENT, subject=subject, event_type=event_type, content=content, data=data)


def _usage(members: Mapping[str, Any]) -> AgentLine:
    tokens = members["tokens"]
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= 10**12:
        raise ValueError("not a number of tokens")
    return AgentLine(kind=LineKind.USAGE, tokens=tokens)


def _log(members: Mapping[str, Any]) -> AgentLine:
    level = _text(members.get("level", "info"))
    if level not in ("debug", "info", "warning", "error"):
        raise ValueError("not a level")
    return AgentLine(kind=LineKind.LOG, level=level, content=_text(members["message"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


_READERS = {
    "chunk": _chunk,
    "end": _end,
    "tool_result": _tool_result,
    "error": _error,
    "event": _event,
    "usage": _usage,
    "log": _log,
}
