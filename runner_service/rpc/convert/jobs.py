"""Jobs, attempts, events and requests for them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from google.protobuf.duration_pb2 import Duration

from runner.v1 import input_pb2, job_pb2, job_service_pb2
from runner_service.domain.containers import Container, PullPolicy
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import (
    NO_LIMITS,
    Attempt,
    AttemptState,
    CleanupPolicy,
    Job,
    JobEvent,
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
from runner_service.domain.requests import NewJob
from runner_service.domain.waiting import WaitingReason, Why
from runner_service.rpc.convert import outcomes, times

STATES = {state: job_pb2.Job.State.Value(f"STATE_{state.name}") for state in JobState}
STATES_BACK = {number: state for state, number in STATES.items()}
_KINDS = {kind: job_pb2.Job.Kind.Value(f"KIND_{kind.name}") for kind in JobKind}
_KINDS_BACK = {number: kind for kind, number in _KINDS.items()}
_WAITING = {reason: job_pb2.Job.WaitingReason.Value(f"WAITING_REASON_{reason.name}") for reason in WaitingReason}
_ATTEMPT_STATES = {state: job_pb2.Attempt.State.Value(f"STATE_{state.name}") for state in AttemptState}
_LOSSES = {policy: job_pb2.LossPolicy.Kind.Value(f"KIND_{policy.name}") for policy in LossPolicy}
STDINS = {stdin: job_pb2.JobSpec.Stdin.Value(f"STDIN_{stdin.name}") for stdin in Stdin}
STDINS_BACK = {number: stdin for stdin, number in STDINS.items()} | {0: Stdin.NULL}
_SPOOLS = {policy: job_pb2.SpoolPolicy.Value(f"SPOOL_POLICY_{policy.name}") for policy in SpoolPolicy}
_SPOOLS_BACK = {number: policy for policy, number in _SPOOLS.items()}
_PULLS = {policy: job_pb2.Container.PullPolicy.Value(f"PULL_POLICY_{policy.name}") for policy in PullPolicy}
_PULLS_BACK = {number: policy for policy, number in _PULLS.items()}
_CLEANUPS = {policy: job_pb2.CleanupPolicy.Value(f"CLEANUP_POLICY_{policy.name}") for policy in CleanupPolicy}
_CLEANUPS_BACK = {number: policy for policy, number in _CLEANUPS.items()}
_LOSSES_BACK = {number: policy for policy, number in _LOSSES.items()} | {0: LossPolicy.WAIT}


def job(value: Job, *, why: Why | None = None) -> job_pb2.Job:
    return job_pb2.Job(
        job_id=value.job_id,
        kind=_KINDS[value.kind],
        origin=value.origin,
        spec=spec(value.spec),
        state=STATES[value.state],
        priority=value.priority,
        tags=value.tags,
        create_time=times.timestamp(value.created_at),
        start_time=times.timestamp(value.started_at),
        finish_time=times.timestamp(value.finished_at),
        attempts=value.attempts,
        attempt_id=value.attempt_id,
        runner_id=value.runner_id,
        outcome=outcomes.to_proto(value.outcome),
        cancel=cancel(value),
        waiting="" if why is None else why.sentence,
        waiting_reason=job_pb2.Job.WAITING_REASON_UNSPECIFIED if why is None else _WAITING[why.reason],
        retry_of=value.retry_of,
    )


def cancel(value: Job) -> job_pb2.Cancel | None:
    if value.cancel is None:
        return None
    return job_pb2.Cancel(time=times.timestamp(value.cancel.at), by=value.cancel.by, reason=value.cancel.reason)


def spec(value: JobSpec) -> job_pb2.JobSpec:
    message = job_pb2.JobSpec()
    # Most jobs differ in nothing but what they run: the rest is one message, made once.
    message.CopyFrom(_terms(_TERMS(value)))
    for step in value.steps:
        _add_step(message, step)
    if value.environment:
        message.environment.update(value.environment)
    message.working_directory = value.working_directory
    if value.required_labels:
        message.required_labels.update(value.required_labels)
    if value.secrets:
        message.secrets.update(value.secrets)
    for one in value.inputs:
        message.inputs.add(artifact_id=one.artifact_id, path=one.path, executable=one.executable)
    if value.outputs:
        message.outputs.extend(value.outputs)
    return message


_Terms = namedtuple(
    "_Terms",
    "timeout_seconds kill_grace_seconds log_limit_bytes max_attempts retry_delay_seconds retry_rules loss_policy "
    "loss_wait_seconds idempotent stdin terminal_rows terminal_columns limits queue_timeout_seconds "
    "start_timeout_seconds idle_timeout_seconds spool_policy cleanup container",
)
"""What may be the same for many jobs."""
_TERMS = attrgetter(*_Terms._fields)


@lru_cache(maxsize=256)
def _terms(values: tuple[Any, ...]) -> job_pb2.JobSpec:
    """A message to copy from."""
    value = _Terms._make(values)
    return job_pb2.JobSpec(
        timeout=times.duration(value.timeout_seconds),
        kill_grace=times.duration(value.kill_grace_seconds),
        log_limit_bytes=value.log_limit_bytes,
        retry=job_pb2.RetryPolicy(
            max_attempts=value.max_attempts,
            delay=times.duration(value.retry_delay_seconds),
            rules=map(_rule, value.retry_rules),
        ),
        loss=job_pb2.LossPolicy(
            kind=_LOSSES[value.loss_policy],
            wait=times.duration(value.loss_wait_seconds),
            idempotent=value.idempotent,
        ),
        stdin=STDINS[value.stdin],
        terminal=(
            input_pb2.TerminalSize(rows=value.terminal_rows, columns=value.terminal_columns)
            if value.stdin is Stdin.PTY
            else None
        ),
        limits=limits(value.limits),
        queue_timeout=_budget(value.queue_timeout_seconds),
        start_timeout=_budget(value.start_timeout_seconds),
        idle_timeout=_budget(value.idle_timeout_seconds),
        spool_policy=_SPOOLS[value.spool_policy],
        cleanup=_CLEANUPS[value.cleanup],
        container=container(value.container),
    )


def container(value: Container | None) -> job_pb2.Container | None:
    if value is None:
        return None
    return job_pb2.Container(
        image=value.image,
        pull_policy=_PULLS[value.pull_policy],
        user=value.user,
        network=value.network,
        volumes=value.volumes,
        privileged=value.privileged,
    )


def container_from(value: job_pb2.Container, *, field: str) -> Container:
    """Raises `InvalidArgument`."""
    if value.privileged:
        raise InvalidArgument(field=f"{field}.privileged", problem="only the configuration of a runner allows it")
    return Container(
        image=value.image,
        pull_policy=_PULLS_BACK.get(value.pull_policy, PullPolicy.IF_MISSING),
        user=value.user,
        network=value.network,
        volumes=tuple(value.volumes),
    )


def limits(value: Limits) -> job_pb2.Limits | None:
    """Unset where there are none."""
    if value == NO_LIMITS:
        return None
    return job_pb2.Limits(
        cpus=value.cpus, memory_bytes=value.memory_bytes, processes=value.processes, disk_bytes=value.disk_bytes
    )


def _budget(seconds: float) -> Duration | None:
    return times.duration(seconds) if seconds else None


def _rule(value: RetryRule) -> job_pb2.RetryRule:
    return job_pb2.RetryRule(
        kind=outcomes.KINDS[value.kind], exit_codes=value.exit_codes, signals=value.signals, details=value.details
    )


def _add_step(spec: job_pb2.JobSpec, step: Step) -> None:
    message = spec.steps.add(name=step.name, always=step.always)
    if step.argv:
        message.argv.args.extend(step.argv)
    else:
        message.script = step.script


def inputs(values: Sequence[job_pb2.JobInput]) -> tuple[JobInput, ...]:
    return tuple(
        JobInput(artifact_id=value.artifact_id, path=value.path, executable=value.executable) for value in values
    )


def new_job(request: job_service_pb2.CreateJobRequest) -> NewJob:
    """What a CreateJob asks for. Raises `InvalidArgument`."""
    asked = request.spec
    return NewJob(
        kind=JobKind.JOB,
        steps=tuple(
            Step(name=step.name, argv=tuple(step.argv.args), script=step.script, always=step.always)
            for step in asked.steps
        ),
        environment=dict(asked.environment),
        working_directory=asked.working_directory,
        timeout_seconds=times.seconds(asked.timeout) if asked.HasField("timeout") else None,
        kill_grace_seconds=(
            times.check_not_negative("spec.kill_grace", asked.kill_grace) if asked.HasField("kill_grace") else None
        ),
        log_limit_bytes=asked.log_limit_bytes,
        required_labels=dict(asked.required_labels),
        max_attempts=asked.retry.max_attempts or 1,
        queue_timeout_seconds=times.check_not_negative("spec.queue_timeout", asked.queue_timeout),
        start_timeout_seconds=times.check_not_negative("spec.start_timeout", asked.start_timeout),
        idle_timeout_seconds=times.check_not_negative("spec.idle_timeout", asked.idle_timeout),
        spool_policy=_SPOOLS_BACK.get(asked.spool_policy, SpoolPolicy.BLOCK),
        cleanup=_CLEANUPS_BACK.get(asked.cleanup, CleanupPolicy.ALWAYS),
        limits=limits_from(asked.limits) if asked.HasField("limits") else NO_LIMITS,
        container=container_from(asked.container, field="spec.container") if asked.HasField("container") else None,
        retry_delay_seconds=times.check_not_negative("spec.retry.delay", asked.retry.delay),
        retry_rules=tuple(map(_rule_from, asked.retry.rules)),
        idempotent=asked.loss.idempotent,
        loss_policy=_LOSSES_BACK.get(asked.loss.kind, LossPolicy.WAIT),
        loss_wait_seconds=(
            times.check_not_negative("spec.loss.wait", asked.loss.wait) if asked.loss.HasField("wait") else None
        ),
        inputs=inputs(asked.inputs),
        outputs=tuple(asked.outputs),
        secrets=dict(asked.secrets),
        stdin=STDINS_BACK.get(asked.stdin, Stdin.NULL),
        terminal_rows=asked.terminal.rows or 24,
        terminal_columns=asked.terminal.columns or 80,
        priority=request.priority,
        tags=dict(request.tags),
        request_id=request.request_id,
    )


def limits_from(value: job_pb2.Limits) -> Limits:
    return Limits(
        cpus=value.cpus, memory_bytes=value.memory_bytes, processes=value.processes, disk_bytes=value.disk_bytes
    )


def _rule_from(value: job_pb2.RetryRule) -> RetryRule:
    kind = outcomes.KINDS_BACK.get(value.kind)
    if kind is None:
        raise InvalidArgument(field="spec.retry.rules.kind", problem="say which outcome")
    return RetryRule(
        kind=kind, exit_codes=tuple(value.exit_codes), signals=tuple(value.signals), details=tuple(value.details)
    )


def states(values: Sequence[job_pb2.Job.State.ValueType]) -> frozenset[JobState]:
    """The states of a filter; one that says UNSPECIFIED means any."""
    return frozenset() if 0 in values else frozenset(STATES_BACK[value] for value in values if value in STATES_BACK)


def kinds(values: Sequence[job_pb2.Job.Kind.ValueType]) -> frozenset[JobKind]:
    return frozenset() if 0 in values else frozenset(_KINDS_BACK[value] for value in values if value in _KINDS_BACK)


def attempt(value: Attempt) -> job_pb2.Attempt:
    return job_pb2.Attempt(
        attempt_id=value.attempt_id,
        job_id=value.job_id,
        number=value.number,
        runner_id=value.runner_id,
        state=_ATTEMPT_STATES[value.state],
        assign_time=times.timestamp(value.assigned_at),
        start_time=times.timestamp(value.started_at),
        finish_time=times.timestamp(value.finished_at),
        outcome=outcomes.to_proto(value.outcome),
    )


def event(value: JobEvent) -> job_pb2.JobEvent:
    return job_pb2.JobEvent(
        sequence=value.sequence,
        job_id=value.job_id,
        time=times.timestamp(value.at),
        kind=value.kind,
        state=STATES[value.state],
        attempt_id=value.attempt_id,
        detail=value.detail,
    )
