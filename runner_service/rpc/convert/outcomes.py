"""Outcomes."""

from __future__ import annotations

from runner.v1 import outcome_pb2
from runner_service.domain.outcomes import Outcome, OutcomeKind, Usage
from runner_service.rpc.convert import times

KINDS = {kind: outcome_pb2.Outcome.Kind.Value(f"KIND_{kind.name}") for kind in OutcomeKind}
KINDS_BACK = {number: kind for kind, number in KINDS.items()}


def to_proto(outcome: Outcome | None) -> outcome_pb2.Outcome | None:
    if outcome is None:
        return None
    usage = outcome.usage
    message = outcome_pb2.Outcome(
        kind=KINDS[outcome.kind],
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        detail=outcome.detail,
        message=outcome.message,
        step=outcome.step,
        survivors=outcome.survivors,
        usage=outcome_pb2.Usage(
            wall_time=times.duration_us(usage.wall_us),
            cpu_time=times.duration_us(usage.cpu_us),
            max_rss_bytes=usage.max_rss_bytes,
            peak_memory_bytes=usage.peak_memory_bytes,
        ),
    )
    if outcome.unenforced_limits:
        message.unenforced_limits.extend(outcome.unenforced_limits)
    if outcome.step_codes:
        message.step_codes.extend(outcome.step_codes)
    return message


def from_proto(outcome: outcome_pb2.Outcome) -> Outcome:
    usage = outcome.usage
    return Outcome(
        kind=KINDS_BACK.get(outcome.kind, OutcomeKind.INFRASTRUCTURE),
        exit_code=outcome.exit_code if outcome.HasField("exit_code") else None,
        signal=outcome.signal if outcome.HasField("signal") else None,
        detail=outcome.detail,
        message=outcome.message,
        step=outcome.step,
        survivors=outcome.survivors,
        usage=Usage(
            wall_us=times.micros_of(usage.wall_time),
            cpu_us=times.micros_of(usage.cpu_time),
            max_rss_bytes=usage.max_rss_bytes,
            peak_memory_bytes=usage.peak_memory_bytes,
        ),
        unenforced_limits=tuple(outcome.unenforced_limits),
        step_codes=tuple(outcome.step_codes),
    )
