"""Why a queued job waits: a sentence, from what the server knows of the job, the queue and the runners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from runner_service.domain.containers import CONTAINER_LABEL
from runner_service.domain.dispatch import want_of
from runner_service.domain.jobs import RUNNER_LABEL, Job, Micros
from runner_service.domain.outcomes import Outcome, OutcomeKind
from runner_service.domain.runners import Runner, RunnerState, explain_missing

NAMED = 3
"""So many runners are named, of more only the number is told."""


class WaitingReason(StrEnum):
    """Why a queued job waits, for programs; the contract says what each means."""

    RETRY_DELAY = "RETRY_DELAY"
    NO_RUNNER = "NO_RUNNER"
    LABELS = "LABELS"
    RUNNERS_AWAY = "RUNNERS_AWAY"
    RUNNERS_CLOSED = "RUNNERS_CLOSED"
    NO_ROOM = "NO_ROOM"
    NEXT = "NEXT"
    ATTACHMENTS = "ATTACHMENTS"


class Why(NamedTuple):
    """Why a queued job waits."""

    reason: WaitingReason
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A runner, and how many jobs it has that have not ended."""

    runner: Runner
    active: int = 0


def why_it_waits(job: Job, places: Sequence[Place], *, position: int, now: Micros) -> Why:
    """The first of these that holds: attachments that are missing; its retry delay; no runner at all, with its labels,
    heard of, or taking work; no room; jobs before it; nothing, it is next.

    ``position``: how many stand before it.
    """
    if job.not_before > now and not job.attempts:
        # What has not been tried is held back for one thing alone.
        return Why(WaitingReason.ATTACHMENTS, "the files that it names as attachments have not been uploaded")
    if job.not_before > now:
        seconds = (job.not_before - now) / 1e6
        sentence = f"waits {seconds:.0f} s more before attempt {job.attempts + 1} of {job.spec.max_attempts}"
        return Why(WaitingReason.RETRY_DELAY, sentence)
    if not places:
        return Why(WaitingReason.NO_RUNNER, "no runner is registered")
    fitting = [place for place in places if _fits(place.runner, job.spec.required_labels)]
    if not fitting:
        return Why(WaitingReason.LABELS, _no_labels(job, places))
    online = [place for place in fitting if place.runner.lease_until > now]
    if not online:
        return Why(WaitingReason.RUNNERS_AWAY, f"of the runners that fit none is heard of: {_names(fitting)}")
    working = [place for place in online if want_of(place.runner, place.runner.labels, 1).own and place.runner.capacity]
    if not working:
        states = ", ".join(f"{place.runner.name} {_state(place.runner)}" for place in online[:NAMED])
        return Why(WaitingReason.RUNNERS_CLOSED, f"the runners that fit take no work now: {states}")
    behind = f"; {position} jobs stand before it" if position else ""
    room = sum(max(0, place.runner.capacity - place.active) for place in working)
    if not room:
        slots = sum(place.runner.capacity for place in working)
        sentence = f"all {slots} slots of the runners that fit are taken: {_names(working)}{behind}"
        return Why(WaitingReason.NO_ROOM, sentence)
    sentence = f"a runner with room fits{behind}" if position else "it is next: a runner with room fits"
    return Why(WaitingReason.NEXT, sentence)


def why_again(outcome: Outcome | None) -> str:
    """How the attempt before ended, in some words; empty when there was none."""
    if outcome is None:
        return ""
    words = {OutcomeKind.EXITED: f"exit code {outcome.exit_code}", OutcomeKind.SIGNALED: f"signal {outcome.signal}"}
    said = words.get(outcome.kind) or " ".join(filter(None, (outcome.kind.lower(), outcome.detail)))
    return f"the last attempt ended with {said}"


def _fits(runner: Runner, required: Mapping[str, str]) -> bool:
    return not explain_missing({**runner.labels, RUNNER_LABEL: runner.runner_id}, required)


def _no_labels(job: Job, places: Sequence[Place]) -> str:
    required = {name: value for name, value in job.spec.required_labels.items() if name != RUNNER_LABEL}
    if job.bound_to:
        return "the runner that it was submitted to does not exist any more, or lacks a label that it requires"
    nearest = min(places, key=lambda place: len(explain_missing(place.runner.labels, required)))
    lacks = explain_missing(nearest.runner.labels, required)
    missing = ", ".join(lacks)
    if lacks == [f"{CONTAINER_LABEL}=yes"]:
        return f"no runner that fits has a Docker engine that answers: {nearest.runner.name} lacks {missing}"
    return f"no runner has the labels that it requires: {nearest.runner.name} lacks {missing}"


def _names(places: Sequence[Place]) -> str:
    names = ", ".join(place.runner.name for place in places[:NAMED])
    return names if len(places) <= NAMED else f"{names} and {len(places) - NAMED} more"


def _state(runner: Runner) -> str:
    words = {RunnerState.STOPPING: "is draining", RunnerState.INACTIVE: "is stopped", RunnerState.ERROR: "has failed"}
    if runner.state is RunnerState.ACTIVE:
        return "is draining"  # Its worker wants none.
    return words.get(runner.state) or f"is {runner.state.lower()}"
