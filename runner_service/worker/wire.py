"""Between the wire (runner.v1) and the domain, as far as a worker needs it."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from runner.v1 import input_pb2, job_pb2, log_pb2, outcome_pb2
from runner_service.domain import inputs
from runner_service.domain.containers import Container, PullPolicy
from runner_service.domain.inputs import InputKind, InputRecord
from runner_service.domain.jobs import CleanupPolicy, JobInput, JobSpec, Limits, SpoolPolicy, Stdin, Step
from runner_service.domain.logs import LogRecord, LogSeal, LogStream
from runner_service.domain.outcomes import Outcome, Usage

_STREAMS = {
    LogStream.STDOUT: log_pb2.LogRecord.STREAM_STDOUT,
    LogStream.STDERR: log_pb2.LogRecord.STREAM_STDERR,
    LogStream.PTY: log_pb2.LogRecord.STREAM_PTY,
    LogStream.SYSTEM: log_pb2.LogRecord.STREAM_SYSTEM,
    LogStream.STEP: log_pb2.LogRecord.STREAM_STEP,
    LogStream.GAP: log_pb2.LogRecord.STREAM_GAP,
}


_STDINS = {
    job_pb2.JobSpec.STDIN_NULL: Stdin.NULL,
    job_pb2.JobSpec.STDIN_PIPE: Stdin.PIPE,
    job_pb2.JobSpec.STDIN_PTY: Stdin.PTY,
}
_CLEANUPS = {job_pb2.CleanupPolicy.Value(f"CLEANUP_POLICY_{policy.name}"): policy for policy in CleanupPolicy}
_PULLS = {job_pb2.Container.PullPolicy.Value(f"PULL_POLICY_{policy}"): policy for policy in PullPolicy}
_SPOOL_POLICIES = {job_pb2.SpoolPolicy.Value(f"SPOOL_POLICY_{policy}"): policy for policy in SpoolPolicy}


def seconds_of(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def spec_of(spec: job_pb2.JobSpec) -> JobSpec:
    """What an executor needs of an order's spec; what only the server looks at keeps its default."""
    default = JobSpec(steps=())
    return JobSpec(
        steps=tuple(
            Step(name=step.name, argv=tuple(step.argv.args), script=step.script, always=step.always)
            for step in spec.steps
        ),
        environment=dict(spec.environment),
        working_directory=spec.working_directory,
        timeout_seconds=seconds_of(spec.timeout) if spec.HasField("timeout") else default.timeout_seconds,
        kill_grace_seconds=seconds_of(spec.kill_grace) if spec.HasField("kill_grace") else default.kill_grace_seconds,
        log_limit_bytes=spec.log_limit_bytes or default.log_limit_bytes,
        inputs=tuple(
            JobInput(artifact_id=one.artifact_id, path=one.path, executable=one.executable) for one in spec.inputs
        ),
        outputs=tuple(spec.outputs),
        secrets=dict(spec.secrets),
        stdin=_STDINS.get(spec.stdin, Stdin.NULL),
        terminal_rows=spec.terminal.rows or default.terminal_rows,
        terminal_columns=spec.terminal.columns or default.terminal_columns,
        start_timeout_seconds=seconds_of(spec.start_timeout),
        idle_timeout_seconds=seconds_of(spec.idle_timeout),
        cleanup=_CLEANUPS.get(spec.cleanup, CleanupPolicy.ALWAYS),
        spool_policy=_SPOOL_POLICIES.get(spec.spool_policy, SpoolPolicy.BLOCK),
        container=_container(spec.container) if spec.HasField("container") else None,
        limits=Limits(
            cpus=spec.limits.cpus,
            memory_bytes=spec.limits.memory_bytes,
            processes=spec.limits.processes,
            disk_bytes=spec.limits.disk_bytes,
        ),
    )


def _container(value: job_pb2.Container) -> Container:
    return Container(
        image=value.image,
        pull_policy=_PULLS.get(value.pull_policy, PullPolicy.IF_MISSING),
        user=value.user,
        network=value.network,
        volumes=tuple(value.volumes),
        privileged=value.privileged,
    )


def input_record_of(record: input_pb2.InputRecord) -> InputRecord:
    match record.WhichOneof("input"):
        case "data":
            return InputRecord(InputKind.DATA, record.data)
        case "end":
            return inputs.END
        case "resize":
            return inputs.resize(record.resize.rows, record.resize.columns)
        case "signal":
            return inputs.signal(record.signal)
    return InputRecord(InputKind.SPENT)  # Of a kind that this worker does not know: its place, and no effect.


def records_to_wire(records: Iterable[LogRecord]) -> list[log_pb2.LogRecord]:
    return [
        log_pb2.LogRecord(
            sequence=record.sequence,
            time=Timestamp(seconds=record.time_ns // 1_000_000_000, nanos=record.time_ns % 1_000_000_000),
            stream=_STREAMS[record.stream],
            data=record.data,
            gap_bytes=record.gap_bytes,
        )
        for record in records
    ]


def seal_to_wire(seal: LogSeal) -> log_pb2.LogSeal:
    return log_pb2.LogSeal(
        records=seal.records, stdout_bytes=seal.stdout_bytes, stderr_bytes=seal.stderr_bytes, sha256=seal.sha256
    )


def outcome_to_wire(outcome: Outcome) -> outcome_pb2.Outcome:
    return outcome_pb2.Outcome(
        kind=outcome_pb2.Outcome.Kind.Value(f"KIND_{outcome.kind}"),
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        detail=outcome.detail,
        message=outcome.message,
        step=outcome.step,
        survivors=outcome.survivors,
        usage=_usage(outcome.usage),
        unenforced_limits=outcome.unenforced_limits,
        step_codes=outcome.step_codes,
    )


def _usage(usage: Usage) -> outcome_pb2.Usage:
    return outcome_pb2.Usage(
        wall_time=_micros(usage.wall_us),
        cpu_time=_micros(usage.cpu_us),
        max_rss_bytes=usage.max_rss_bytes,
        peak_memory_bytes=usage.peak_memory_bytes,
    )


def _micros(micros: int) -> Duration:
    return Duration(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)
