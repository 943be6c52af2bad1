"""What a chat with an agent shows its client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runner_service.domain.jobs import Micros


class FrameKind(StrEnum):
    """What a frame is."""

    EVENT = "event"
    STREAM_START = "stream_start"
    STREAM_CHUNK = "stream_chunk"
    STREAM_END = "stream_end"
    RESPONSE = "response"
    """The whole answer, to a message that asked for it so."""
    TOOL_RESULT = "tool_result"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFrame:
    """One frame of a chat, in the order in which they are shown."""

    kind: FrameKind
    at: Micros
    event_type: str = ""
    """Of an EVENT."""
    message_id: str = ""
    """The message that it is about, as its client called it."""
    response_id: str = ""
    request_id: str = ""
    """The tool request that it is about, as its client called it."""
    content: str | None = None
    """``None``: this kind has none."""
    chunk_index: int | None = None
    """Of a chunk, from 0."""
    tools_used: tuple[str, ...] | None = None
    ok: bool = True
    """Of a TOOL_RESULT."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Of an EVENT; of a TOOL_RESULT ``result`` or ``error``."""
    error: str = ""
