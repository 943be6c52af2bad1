"""Rows as domain objects and back: columns by position, the rest as compact JSON that leaves defaults out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from runner_service.domain.containers import Container, PullPolicy
from runner_service.domain.jobs import (
    Attempt,
    AttemptState,
    Cancel,
    CleanupPolicy,
    Job,
    JobInput,
    JobKind,
    JobSpec,
    JobState,
    Limits,
    LossPolicy,
    RetryRule,
    SpoolPolicy,
    Stdin,
    Step,
)
from runner_service.domain.outcomes import Outcome, OutcomeKind, Usage
from runner_service.store.schema import attempts, jobs
from runner_service.store.statements import Row

_KINDS = {kind.value: kind for kind in JobKind}
_STATES = {state.value: state for state in JobState}
_ATTEMPT_STATES = {state.value: state for state in AttemptState}
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Body(NamedTuple):
    """What was asked for: the part of a job that never changes and is never searched."""

    spec: JobSpec
    tags: Mapping[str, str]
    annotations: Mapping[str, str]
    request_id: str
    created_by: str
    retry_of: str


def _defaults(kind: type, *leave_out: str) -> dict[str, Any]:
    made = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(kind)
        if field.default is not MISSING or field.default_factory is not MISSING
    }
    return {name: value for name, value in made.items() if name not in leave_out}


_SPEC = _defaults(JobSpec)
_STEP = _defaults(Step)
_LIMITS = _defaults(Limits)
_CONTAINER = _defaults(Container)
_RULE = _defaults(RetryRule)
_OUTCOME = _defaults(Outcome, "usage")
_USAGE = _defaults(Usage)


def _changed(value: object, defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: got for name, default in defaults.items() if (got := getattr(value, name)) != default}


def encode_map(value: Mapping[str, str]) -> str:
    return _encode(dict(value))


def encode_body(job: Job) -> str:
    spec = _changed(job.spec, _SPEC)
    spec["steps"] = [_changed(step, _STEP) for step in job.spec.steps]
    for name in ("environment", "required_labels", "secrets"):
        if name in spec:
            spec[name] = dict(spec[name])
    if "limits" in spec:
        spec["limits"] = _changed(job.spec.limits, _LIMITS)
    if "container" in spec:
        spec["container"] = {"image": spec["container"].image, **_changed(spec["container"], _CONTAINER)}
    if "inputs" in spec:
        spec["inputs"] = [[one.artifact_id, one.path, one.executable] for one in job.spec.inputs]
    if "retry_rules" in spec:
        spec["retry_rules"] = [{"kind": rule.kind, **_changed(rule, _RULE)} for rule in job.spec.retry_rules]
    body: dict[str, Any] = {"spec": spec}
    for name, value in (("tags", job.tags), ("annotations", job.annotations)):
        if value:
            body[name] = dict(value)
    for name, text in (("request_id", job.request_id), ("created_by", job.created_by), ("retry_of", job.retry_of)):
        if text:
            body[name] = text
    return _encode(body)


def decode_body(text: str) -> Body:
    body = json.loads(text)
    spec = body["spec"]
    spec["steps"] = tuple(Step(**{**step, "argv": tuple(step.get("argv", ()))}) for step in spec["steps"])
    if "loss_policy" in spec:
        spec["loss_policy"] = LossPolicy(spec["loss_policy"])
    if "stdin" in spec:
        spec["stdin"] = Stdin(spec["stdin"])
    if "cleanup" in spec:
        spec["cleanup"] = CleanupPolicy(spec["cleanup"])
    if "spool_policy" in spec:
        spec["spool_policy"] = SpoolPolicy(spec["spool_policy"])
    if "limits" in spec:
        spec["limits"] = Limits(**spec["limits"])
    if "container" in spec:
        spec["container"] = _container_of(spec["container"])
    if "inputs" in spec:
        spec["inputs"] = tuple(
            JobInput(artifact_id=artifact_id, path=path, executable=executable)
            for artifact_id, path, executable in spec["inputs"]
        )
    if "outputs" in spec:
        spec["outputs"] = tuple(spec["outputs"])
    if "retry_rules" in spec:
        spec["retry_rules"] = tuple(map(_rule_of, spec["retry_rules"]))
    return Body(
        JobSpec(**spec),
        body.get("tags", {}),
        body.get("annotations", {}),
        body.get("request_id", ""),
        body.get("created_by", ""),
        body.get("retry_of", ""),
    )


def _container_of(value: Mapping[str, Any]) -> Container:
    policy = PullPolicy(value.get("pull_policy", PullPolicy.IF_MISSING))
    # Rows of before the image was kept: one that cannot be read would hold up all others.
    return Container(**{"image": "", **value, "pull_policy": policy, "volumes": tuple(value.get("volumes", ()))})


def _rule_of(value: Mapping[str, Any]) -> RetryRule:
    kind = OutcomeKind(value["kind"])
    return RetryRule(kind=kind, **{name: tuple(words) for name, words in value.items() if name != "kind"})


def body_of(job: Job) -> Body:
    return Body(job.spec, job.tags, job.annotations, job.request_id, job.created_by, job.retry_of)


def encode_outcome(outcome: Outcome | None) -> str | None:
    if outcome is None:
        return None
    value = _changed(outcome, _OUTCOME)
    value["kind"] = outcome.kind
    if usage := _changed(outcome.usage, _USAGE):
        value["usage"] = usage
    return _encode(value)


def decode_outcome(text: str | None) -> Outcome | None:
    if text is None:
        return None
    value = json.loads(text)
    value["kind"] = OutcomeKind(value["kind"])
    value["usage"] = Usage(**value.get("usage", {}))
    for name in ("unenforced_limits", "step_codes"):
        if name in value:
            value[name] = tuple(value[name])
    return Outcome(**value)


def encode_cancel(cancel: Cancel | None) -> str | None:
    return None if cancel is None else _encode([cancel.at, cancel.by, cancel.reason])


def decode_cancel(text: str | None) -> Cancel | None:
    if text is None:
        return None
    at, by, reason = json.loads(text)
    return Cancel(at=at, by=by, reason=reason)


def requirement_of(labels: Mapping[str, str]) -> int:
    """A number for a set of required labels; 0 for none. Two sets that differ do so in 64 bits of BLAKE2."""
    if not labels:
        return 0
    text = _encode(sorted(labels.items()))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True) or 1


def loss_wait_us(spec: JobSpec) -> int:
    """How long after its lease a runner may be away before the job is given up, its kill budget not counted."""
    return round(spec.loss_wait_seconds * 1e6) if spec.loss_policy is LossPolicy.WAIT else 0


JOB_COLUMNS = tuple(column for column in jobs.c if column.name not in ("requirement", "loss_wait_us", "bound_to"))
JOB_WIDTH = len(JOB_COLUMNS)
ATTEMPT_COLUMNS = (
    attempts.c.attempt_id,
    attempts.c.job_id,
    attempts.c.number,
    attempts.c.runner_id,
    attempts.c.fence,
    attempts.c.state,
    attempts.c.assigned_at,
    attempts.c.started_at,
    attempts.c.finished_at,
    attempts.c.outcome,
)
ATTEMPT_WIDTH = len(ATTEMPT_COLUMNS)


def job_of(row: Row, body: Body) -> Job:
    """A job from `JOB_COLUMNS` at the start of ``row``."""
    return Job(
        job_id=row[0],
        kind=_KINDS[row[1]],
        state=_STATES[row[2]],
        created_at=row[3],
        origin=row[4],
        priority=row[5],
        not_before=row[6],
        started_at=row[7],
        finished_at=row[8],
        attempt_id=row[9],
        attempts=row[10],
        fence=row[11],
        runner_id=row[12],
        outcome=decode_outcome(row[13]),
        cancel=decode_cancel(row[14]),
        queue_deadline=row[15] or 0,
        spec=body.spec,
        tags=body.tags,
        annotations=body.annotations,
        request_id=body.request_id,
        created_by=body.created_by,
        retry_of=body.retry_of,
    )


def job_values(job: Job) -> dict[str, Any]:
    """All columns of ``jobs``."""
    return {
        "job_id": job.job_id,
        "kind": job.kind.value,
        "created_at": job.created_at,
        "origin": job.origin,
        "priority": job.priority,
        "requirement": requirement_of(job.spec.required_labels),
        "loss_wait_us": loss_wait_us(job.spec),
        "bound_to": job.bound_to,
        **job_changes(job, encode_outcome(job.outcome)),
    }


def job_changes(job: Job, outcome: str | None) -> dict[str, Any]:
    """The columns that change, and the key. ``outcome``: that of the job, encoded."""
    return {
        "job_id": job.job_id,
        "state": job.state.value,
        "not_before": job.not_before,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "attempt_id": job.attempt_id,
        "attempts": job.attempts,
        "fence": job.fence,
        "runner_id": job.runner_id,
        "outcome": outcome,
        "cancel": encode_cancel(job.cancel),
        "queue_deadline": job.queue_deadline or None,
    }


def attempt_of(row: Sequence[Any]) -> Attempt:
    """An attempt from `ATTEMPT_COLUMNS` at the start of ``row``."""
    return Attempt(
        attempt_id=row[0],
        job_id=row[1],
        number=row[2],
        runner_id=row[3],
        fence=row[4],
        state=_ATTEMPT_STATES[row[5]],
        assigned_at=row[6],
        started_at=row[7],
        finished_at=row[8],
        outcome=decode_outcome(row[9]),
    )
