"""SCT agent's words and numbers for our facts (contract/sct.md, sections 4 to 6)."""

from __future__ import annotations

import codecs
import re
import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from runner_service.domain.jobs import Job, JobState, Micros
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.requests import MAX_TIMEOUT_SECONDS
from runner_service.ports.store import JobFilter

ORIGIN = "sct"
PRIORITIES: Mapping[str, int] = {"high": 100, "normal": 0, "low": -100}
LIMIT_DEFAULT = 50
LIMIT_MOST = 500
_DIGITS = 18
"""Of a number that is taken for one; beyond, a database could not count."""

STATUS: Mapping[JobState, str] = {
    JobState.QUEUED: "queued",
    JobState.ASSIGNED: "queued",
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.TIMED_OUT: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.LOST: "failed",
}

_FILTERS: Mapping[str, JobFilter] = {
    "queued": JobFilter(origin=ORIGIN, states=frozenset({JobState.QUEUED, JobState.ASSIGNED}), cancelling=False),
    "running": JobFilter(origin=ORIGIN, states=frozenset({JobState.RUNNING}), cancelling=False),
    "completed": JobFilter(origin=ORIGIN, states=frozenset({JobState.SUCCEEDED})),
    "failed": JobFilter(
        origin=ORIGIN, states=frozenset({JobState.FAILED, JobState.TIMED_OUT, JobState.LOST}), cancelling=False
    ),
    "cancelled": JobFilter(origin=ORIGIN, cancelling=True),
}


def status(job: Job) -> str:
    """A cancel shows from the moment it is accepted."""
    return "cancelled" if job.cancel is not None else STATUS[job.state]


def status_when_accepted(job: Job) -> str:
    """What the answer to a POST says. A negative timeout fails the job at once, yet it was accepted like any other."""
    return "queued" if job.spec.timeout_seconds < 0 else status(job)


def filter_for(word: str) -> JobFilter | None:
    """The jobs that a status word means; ``None`` for a word that no job has."""
    return _FILTERS.get(word) if word else JobFilter(origin=ORIGIN)


def ended_at(job: Job) -> Micros | None:
    """When it ended: for a cancelled one when the cancel was accepted, for from then on it shows as cancelled."""
    return job.cancel.at if job.cancel is not None else job.finished_at


def duration_ms(job: Job) -> int:
    """From start to end; 0 while that is not known."""
    ended = ended_at(job)
    return max(0, ended - job.started_at) // 1000 if ended is not None and job.started_at is not None else 0


def exit_code(job: Job) -> int | None:
    """The exit code, -1 for any other end, nothing for a cancel and for what still runs."""
    if job.outcome is None or status(job) == "cancelled":
        return None
    return job.outcome.exit_code if job.outcome.kind is OutcomeKind.EXITED else -1


def error(job: Job) -> str:
    """Why it failed, in the words of Go's ``os/exec``, which SCT's clients know."""
    if status(job) == "cancelled":
        return "command cancelled"
    return _error(job.outcome) if job.outcome is not None and not job.outcome.succeeded else ""


def _error(outcome: Outcome) -> str:
    match outcome.kind:
        case OutcomeKind.EXITED:
            return f"exit status {outcome.exit_code}"
        case OutcomeKind.SIGNALED:
            return f"signal: {(signal.strsignal(outcome.signal or 0) or 'unknown').lower()}"
        case OutcomeKind.TIMED_OUT:
            return "command timed out"
        case OutcomeKind.OUT_OF_MEMORY:
            return "signal: killed (out of memory)"
        case OutcomeKind.OUT_OF_DISK:
            return f"signal: killed ({outcome.message or 'out of disk'})"
        case OutcomeKind.CANCELLED:
            return "command cancelled"
        case OutcomeKind.REFUSED:
            return f"failed to start command: {outcome.message}"
        case OutcomeKind.LOST:
            return f"command was lost with its runner: {outcome.message or outcome.detail}"
        case OutcomeKind.INFRASTRUCTURE:
            return f"the runner failed: {outcome.message or outcome.detail}"


def stderr_instead(job: Job) -> str:
    """What stands for standard error when the command wrote none."""
    if status(job) == "cancelled":
        return "Command execution cancelled"
    if job.outcome is not None and job.outcome.kind is OutcomeKind.TIMED_OUT:
        return "Command execution timed out"
    return ""


def text(output: bytes, *, complete: bool) -> str:
    """UTF-8 with U+FFFD for what is none. While more may follow, a character that is cut at the end waits for its rest,
    so that what is shown only grows."""
    return codecs.getincrementaldecoder("utf-8")("replace").decode(output, final=complete)


def timeout(asked: int) -> float | None:
    """Seconds; ``None``: the service's default. Any number is taken: one beyond what the service can count is the most
    that it can."""
    return max(-MAX_TIMEOUT_SECONDS, min(float(asked), MAX_TIMEOUT_SECONDS)) if asked else None


def limit(asked: str) -> int:
    """0: no limit. Anything that is no number, or negative, is the default."""
    number = _number(asked)
    return LIMIT_DEFAULT if number is None else min(number, LIMIT_MOST)


def offset(asked: str) -> int:
    """Anything that is no number, or negative, is 0."""
    return _number(asked) or 0


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def since(asked: str) -> Micros | None:
    """RFC 3339; anything else is as if it were not there. A part of a microsecond counts as a whole one, so that
    nothing older is taken in."""
    match = _RFC_3339.fullmatch(asked)
    if match is None:
        return None
    second, fraction, offset = match[1], match[2] or "", match[3]
    try:
        at = datetime.fromisoformat(second + offset.upper())
    except ValueError:
        return None
    micros = int(fraction[:6].ljust(6, "0")) + (fraction[6:].strip("0") != "")
    return (at - _EPOCH) // timedelta(microseconds=1) + micros
