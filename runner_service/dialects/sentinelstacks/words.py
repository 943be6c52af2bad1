"""SentinelStacks' words for our facts (contract/sentinelstacks.md)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from runner_service.domain.agents import AgentStatus
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.images import TaggedImage
from runner_service.domain.jobs import Micros

ORIGIN = "sentinelstacks"
LOG_LIMIT = 100
LOG_MOST = 10_000
SEARCH_LIMIT = 10
SEARCH_MOST = 500
_DIGITS = 9

NOT_STOPPED = frozenset(AgentStatus) - {AgentStatus.STOPPED}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def statuses(word: str) -> frozenset[AgentStatus] | None:
    """Those of a filter; ``None`` for a word that no agent of ours has, such as ``paused``."""
    if not word:
        return NOT_STOPPED
    try:
        return frozenset({AgentStatus(word)})
    except ValueError:
        return None


def number(text: str, *, default: int, most: int) -> int:
    """A number of a query; what is none means the default."""
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        return min(int(text), most)
    return default


def since(text: str) -> Micros:
    """RFC 3339; 0 where nothing is said.

    Raises:
        InvalidArgument: It is something else.
    """
    if not text:
        return 0
    try:
        if not _RFC_3339.fullmatch(text):
            raise ValueError(text)
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        raise InvalidArgument("Invalid since: give an RFC 3339 time", field="since", problem="no RFC 3339") from None
    return (at - _EPOCH) // timedelta(microseconds=1)


def author(image: TaggedImage) -> str:
    """Who made it; the first part of its name where it does not say."""
    return image.image.manifest.author or (image.name.split("/")[0] if "/" in image.name else "")


def version(image: TaggedImage) -> str:
    """The author's version; the tag where it does not say."""
    return image.image.manifest.version or image.tag
