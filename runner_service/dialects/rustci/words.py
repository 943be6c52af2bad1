"""RustCI's words, ids and numbers for our facts (contract/rustci.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from runner_service.domain.errors import InvalidArgument, JobNotFound, RunnerNotFound
from runner_service.domain.ids import is_id
from runner_service.domain.jobs import Job, JobState, Micros
from runner_service.domain.outcomes import OutcomeKind
from runner_service.domain.runner_feed import FeedLevel
from runner_service.domain.runner_health import Health
from runner_service.domain.runners import RunnerKind, RunnerState
from runner_service.ports.store import JobFilter, RunnerFilter

T = TypeVar("T")

ORIGIN = "rustci"
LIMIT_DEFAULT, LIMIT_MOST = 50, 1_000
LOG_LIMIT_DEFAULT, LOG_LIMIT_MOST = 100, 10_000
GRACEFUL_SECONDS = 300
AVERAGE_SECONDS = 60.0
"""Of a job, as long as none has ended."""

STATUS: Mapping[RunnerState, str] = {state: state.value.lower() for state in RunnerState}
TYPES: Mapping[RunnerKind, str] = {kind: kind.value.lower() for kind in RunnerKind}
_TYPES_BACK = {word: kind for kind, word in TYPES.items()}
_FILTERED = {STATUS[state]: state for state in (RunnerState.ACTIVE, RunnerState.INACTIVE, RunnerState.ERROR)}
HEALTH: Mapping[Health, str] = {health: health.value.lower() for health in Health}
LEVELS: Mapping[FeedLevel, str] = {level: level.value.lower() for level in FeedLevel}
_LEVELS_BACK = {word: level for level, word in LEVELS.items()}
PERIODS: Mapping[str, int] = {"1h": 3_600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
RESOLUTIONS: Mapping[str, int] = {"1m": 60, "5m": 300, "1h": 3_600}

JOB_STATUS: Mapping[JobState, str] = {
    JobState.QUEUED: "queued",
    JobState.ASSIGNED: "queued",
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.TIMED_OUT: "timed_out",
    JobState.CANCELLED: "cancelled",
    JobState.LOST: "failed",
}
_JOB_FILTERS: Mapping[str, JobFilter] = {
    "queued": JobFilter(states=frozenset({JobState.QUEUED, JobState.ASSIGNED}), cancelling=False),
    "running": JobFilter(states=frozenset({JobState.RUNNING}), cancelling=False),
    "completed": JobFilter(states=frozenset({JobState.SUCCEEDED})),
    "failed": JobFilter(states=frozenset({JobState.FAILED, JobState.LOST}), cancelling=False),
    "timed_out": JobFilter(states=frozenset({JobState.TIMED_OUT}), cancelling=False),
    "cancelled": JobFilter(cancelling=True),
}


def runner_id(native: str) -> str:
    return f"runner_{native}"


def native_runner_id(shown: str) -> str:
    """Raises `RunnerNotFound` for what cannot be one, whatever its form."""
    native = shown.removeprefix("runner_")
    if native == shown or not is_id(native):
        raise RunnerNotFound(runner_id=shown)
    return native


def job_id(native: str) -> str:
    return f"job_{native}"


def native_job_id(shown: str) -> str:
    """Raises `JobNotFound` for what cannot be one, whatever its form."""
    native = shown.removeprefix("job_")
    if native == shown or not is_id(native):
        raise JobNotFound(job_id=shown)
    return native


def kind(word: str) -> RunnerKind:
    """Raises `InvalidArgument`."""
    return _one_of("type", word, _TYPES_BACK)


def runner_filter(status: str, type: str, tags: tuple[str, ...]) -> RunnerFilter:
    """Empty words: any. Raises `InvalidArgument`."""
    return RunnerFilter(
        state=_one_of("status", status, _FILTERED) if status else None,
        kind=kind(type) if type else None,
        tags=tags,
    )


def job_filter(status: str) -> JobFilter:
    """Raises `InvalidArgument`."""
    return _one_of("status", status, _JOB_FILTERS) if status else JobFilter()


def level(word: str) -> FeedLevel | None:
    """Raises `InvalidArgument`."""
    return _one_of("level", word, _LEVELS_BACK) if word else None


def period(word: str) -> tuple[str, int]:
    """The word, its default for none, and its seconds. Raises `InvalidArgument`."""
    word = word or "24h"
    return word, _one_of("period", word, PERIODS)


def resolution(word: str) -> tuple[str, int]:
    """The word, its default for none, and its seconds. Raises `InvalidArgument`."""
    word = word or "5m"
    return word, _one_of("resolution", word, RESOLUTIONS)


def _one_of(field: str, word: str, known: Mapping[str, T]) -> T:
    try:
        return known[word]
    except KeyError:
        raise InvalidArgument(field=field, problem=f"give one of {', '.join(known)}") from None


def limit(text: str, *, default: int = LIMIT_DEFAULT, most: int = LIMIT_MOST) -> int:
    """Raises `InvalidArgument` for 0 and for what is no number."""
    number = _number("limit", text, default)
    if number == 0:
        raise InvalidArgument(field="limit", problem="give a whole number from 1")
    return min(number, most)


def offset(text: str) -> int:
    """Raises `InvalidArgument` for what is no number."""
    return min(_number("offset", text, 0), 2**62)


def _number(field: str, text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise InvalidArgument(field=field, problem="give a whole number")
    return int(text[:30])


_TRUE, _FALSE = frozenset({"true", "1", "yes", ""}), frozenset({"false", "0", "no"})


def flag(field: str, text: str | None) -> bool:
    """A bare parameter means true, none false. Raises `InvalidArgument`."""
    word = None if text is None else text.lower()
    if word in _TRUE:
        return True
    if word is None or word in _FALSE:
        return False
    raise InvalidArgument(field=field, problem="give true or false")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BLANK_OFFSET = re.compile(r" (\d\d:?\d\d)$")


def moment(field: str, text: str, default: Micros) -> Micros:
    """ISO 8601; without an offset UTC. A blank before an offset is a plus that was not escaped. Raises
    `InvalidArgument`."""
    if not text:
        return default
    try:
        at = datetime.fromisoformat(_BLANK_OFFSET.sub(r"+\1", text))
    except ValueError:
        raise InvalidArgument(field=field, problem="give a time such as 2024-01-15T10:00:00Z") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(microseconds=1)


def time_text(at: Micros) -> str:
    """RFC 3339 in UTC, as the gateway writes timestamps."""
    text = (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00").removesuffix(".000000").removesuffix("000") + "Z"


def job_status(job: Job) -> str:
    """A cancel shows from the moment it is accepted."""
    return "cancelled" if job.cancel is not None else JOB_STATUS[job.state]


def ended_at(job: Job) -> Micros | None:
    """When it ended: for a cancelled one when the cancel was accepted."""
    return job.cancel.at if job.cancel is not None else job.finished_at


def exit_code(job: Job) -> int | None:
    """Of the step that ended it; one that a signal killed has the shell's number for that."""
    outcome = job.outcome
    if outcome is None or job_status(job) not in ("completed", "failed"):
        return None
    if outcome.kind is OutcomeKind.EXITED:
        return outcome.exit_code
    return 128 + (outcome.signal or 0) if outcome.kind is OutcomeKind.SIGNALED else -1
