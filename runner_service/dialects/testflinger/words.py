"""Testflinger's words, times and ids, and ours."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from runner_service.domain.jobs import Micros
from runner_service.domain.json_text import members_of, object_of, text_of
from runner_service.domain.queues import (
    ACTIVE_WORDS,
    CANCELLED,
    COMPLETE,
    PHASES,
    Attachments,
    QueueJob,
)

TEXT = "text/html; charset=utf-8"
JSON = "application/json"
OK = "OK"

SEARCHABLE = (*PHASES[:5], "allocated", *PHASES[5:], CANCELLED, "completed", "active", "waiting", "running", COMPLETE)
_STANDS_FOR: dict[str, tuple[str, ...]] = {
    "active": ACTIVE_WORDS,
    "completed": (COMPLETE, "completed"),
    COMPLETE: (COMPLETE, "completed"),
}


def states(words: list[str]) -> frozenset[str]:
    """The states that a search for these words finds."""
    return frozenset(state for word in words for state in _STANDS_FOR.get(word, (word,)))


def job_id(text: str) -> str | None:
    """An id in its canonical form; None for what no UUID parser takes."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def time(at: Micros | None) -> str:
    """A time as Testflinger writes it; empty for none."""
    return "" if at is None else datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def definition(found: QueueJob) -> str:
    """A job as it was posted, with its id."""
    return object_of({**members_of(found.definition), "job_id": text_of(found.job.job_id)})


def popped(found: QueueJob) -> str:
    """A job as its agent gets it."""
    members = {**members_of(found.definition), "job_id": text_of(found.job.job_id)}
    members["started_at"] = text_of(time(found.job.started_at))
    if found.attachments is not Attachments.NONE:
        members["attachments_status"] = text_of(found.attachments.value)
    return object_of(members)


def current_phase(found: QueueJob | None) -> str:
    """The phase that output without one belongs to."""
    word = found.word if found is not None else ""
    if word in PHASES:
        return word
    return {"allocated": "allocate", "waiting": "setup", "running": "setup"}.get(word, "test")
