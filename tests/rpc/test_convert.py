"""What goes over the wire comes back as it was: property tests of the conversions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from runner.v1 import dispatch_service_pb2, job_pb2, job_service_pb2, log_pb2, outcome_pb2
from runner_service.domain.containers import CONTAINER_LABEL, Container, PullPolicy
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import (
    AttemptState,
    JobKind,
    JobSpec,
    JobState,
    Limits,
    LossPolicy,
    RetryRule,
    SpoolPolicy,
    Step,
)
from runner_service.domain.logs import LogRecord, LogSeal, LogStream
from runner_service.domain.outcomes import Outcome, OutcomeKind, Usage
from runner_service.domain.requests import JobDefaults, make_spec
from runner_service.rpc.convert import dispatch, jobs, logs, outcomes, times
from runner_service.worker import wire

MICROS = 10**6
TEXT = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
WORD = TEXT.filter(bool)
NAME = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0="), min_size=1, max_size=20)
SECONDS = some.integers(0, 3600 * MICROS).map(lambda micros: micros / MICROS)
STEPS = some.one_of(
    some.builds(Step, name=TEXT, script=WORD),
    some.builds(Step, name=TEXT, argv=some.tuples(WORD, TEXT, TEXT)),
)

LIMITS = some.builds(
    Limits,
    cpus=some.just(0.0) | some.floats(0.01, 64),
    memory_bytes=some.just(0) | some.integers(4 << 20, 1 << 50),
    processes=some.integers(0, 1 << 22),
    disk_bytes=some.integers(0, 1 << 50),
)
RULES = some.one_of(
    some.builds(
        RetryRule,
        kind=some.sampled_from(sorted(set(OutcomeKind) - {OutcomeKind.CANCELLED})),
        details=some.lists(WORD, max_size=2).map(tuple),
    ),
    some.builds(RetryRule, kind=some.just(OutcomeKind.EXITED), exit_codes=some.tuples(some.integers(0, 255))),
    some.builds(RetryRule, kind=some.just(OutcomeKind.SIGNALED), signals=some.tuples(some.integers(1, 64))),
)


CONTAINERS = some.builds(
    Container,
    image=some.sampled_from(["debian:12", "localhost:5000/a/b@sha256:" + "0" * 64]),
    pull_policy=some.sampled_from(PullPolicy),
    user=some.sampled_from(["", "1000:1000", "nobody"]),
    network=some.sampled_from(["", "none", "my-net"]),
    volumes=some.lists(some.sampled_from(["/a:/b", "/a:/b:ro", "name:/x/y"]), max_size=3).map(tuple),
)


@some.composite
def _specs(draw: Any) -> JobSpec:
    policy = draw(some.sampled_from(LossPolicy))
    return JobSpec(
        steps=tuple(draw(some.lists(STEPS, min_size=1, max_size=4))),
        environment=draw(some.dictionaries(NAME, TEXT, max_size=4)),
        working_directory=draw(some.sampled_from(["", "/", "/srv/é"])),
        timeout_seconds=draw(SECONDS),
        kill_grace_seconds=draw(SECONDS),
        log_limit_bytes=draw(some.integers(1, 1 << 30)),
        required_labels=draw(some.dictionaries(WORD, TEXT, max_size=4)),
        max_attempts=draw(some.integers(1, 100)),
        retry_delay_seconds=draw(SECONDS),
        retry_rules=tuple(draw(some.lists(RULES, max_size=3))),
        queue_timeout_seconds=draw(SECONDS),
        start_timeout_seconds=draw(SECONDS),
        idle_timeout_seconds=draw(SECONDS),
        spool_policy=draw(some.sampled_from(SpoolPolicy)),
        container=draw(some.none() | CONTAINERS),
        limits=draw(LIMITS),
        idempotent=policy is LossPolicy.RETRY or draw(some.booleans()),
        loss_policy=policy,
        loss_wait_seconds=draw(SECONDS),
    )


@given(_specs())
def test_a_spec_that_is_asked_for_is_the_spec_that_is_made(spec: JobSpec) -> None:
    request = job_service_pb2.CreateJobRequest(spec=jobs.spec(spec))
    again = job_service_pb2.CreateJobRequest.FromString(request.SerializeToString())
    labels = spec.required_labels if spec.container is None else {**spec.required_labels, CONTAINER_LABEL: "yes"}
    assert make_spec(jobs.new_job(again), JobDefaults()) == replace(spec, required_labels=labels)


def test_what_is_done_to_the_message_of_a_spec_is_not_seen_in_the_next() -> None:
    spec = JobSpec(steps=(Step(argv=("true",)),), timeout_seconds=7.5)
    first = jobs.spec(spec)
    as_made = first.SerializeToString(deterministic=True)
    first.timeout.seconds, first.retry.max_attempts, first.loss.idempotent = 99, 99, True
    first.steps.add(script="false")
    assert jobs.spec(replace(spec)).SerializeToString(deterministic=True) == as_made


@given(_specs())
def test_a_worker_executes_the_spec_that_was_stored(spec: JobSpec) -> None:
    got = wire.spec_of(jobs.spec(spec))
    for name in ("steps", "environment", "working_directory", "log_limit_bytes", "spool_policy", "limits", "container"):
        assert getattr(got, name) == getattr(spec, name)
    assert got.timeout_seconds == pytest.approx(spec.timeout_seconds, abs=1e-8)
    assert got.start_timeout_seconds == pytest.approx(spec.start_timeout_seconds, abs=1e-8)
    assert got.idle_timeout_seconds == pytest.approx(spec.idle_timeout_seconds, abs=1e-8)
    assert got.kill_grace_seconds == pytest.approx(spec.kill_grace_seconds, abs=1e-8)


def test_a_silent_request_gets_the_defaults() -> None:
    request = job_service_pb2.CreateJobRequest(spec=job_pb2.JobSpec(steps=[job_pb2.Step(script="true")]))
    defaults = JobDefaults(timeout_seconds=7, kill_grace_seconds=8, loss_wait_seconds=9)
    spec = make_spec(jobs.new_job(request), defaults)
    assert (spec.timeout_seconds, spec.kill_grace_seconds, spec.loss_wait_seconds) == (7, 8, 9)
    assert (spec.max_attempts, spec.loss_policy, spec.log_limit_bytes) == (1, LossPolicy.WAIT, 1 << 30)


OUTCOMES = some.builds(
    Outcome,
    kind=some.sampled_from(OutcomeKind),
    exit_code=some.none() | some.integers(0, 255),
    signal=some.none() | some.integers(1, 64),
    detail=TEXT,
    message=TEXT,
    step=some.integers(0, 1000),
    survivors=some.integers(0, 1000),
    usage=some.builds(
        Usage,
        wall_us=some.integers(0, 1 << 50),
        cpu_us=some.integers(0, 1 << 50),
        max_rss_bytes=some.integers(0, 1 << 50),
        peak_memory_bytes=some.integers(0, 1 << 50),
    ),
    unenforced_limits=some.lists(some.sampled_from(["cpus", "memory", "processes"])).map(tuple),
    step_codes=some.lists(some.integers(-1, 255)).map(tuple),
)


@given(OUTCOMES)
def test_an_outcome_comes_back_from_the_api_and_from_a_worker(outcome: Outcome) -> None:
    message = outcomes.to_proto(outcome)
    assert message is not None
    assert outcomes.from_proto(outcome_pb2.Outcome.FromString(message.SerializeToString())) == outcome
    assert wire.outcome_to_wire(outcome) == message


def test_an_outcome_of_a_kind_that_is_not_known_is_a_fault_of_the_runner() -> None:
    assert outcomes.from_proto(outcome_pb2.Outcome(kind=99)).kind is OutcomeKind.INFRASTRUCTURE  # type: ignore[arg-type]


RECORDS = some.lists(
    some.tuples(some.sampled_from(LogStream), some.binary(max_size=50), some.integers(0, 1 << 62)), max_size=8
).map(
    lambda parts: [
        LogRecord(5 + at, time, stream, b"" if stream is LogStream.GAP else data, 9 if stream is LogStream.GAP else 0)
        for at, (stream, data, time) in enumerate(parts)
    ]
)


@given(RECORDS)
def test_records_come_back_from_the_api_and_from_a_worker(records: list[LogRecord]) -> None:
    assert logs.records_from(logs.records(records)) == records
    assert wire.records_to_wire(records) == logs.records(records)


@pytest.mark.parametrize(
    "records",
    [
        [log_pb2.LogRecord(sequence=0)],
        [log_pb2.LogRecord(sequence=-1, stream=log_pb2.LogRecord.STREAM_STDOUT)],
        [log_pb2.LogRecord(sequence=0, stream=log_pb2.LogRecord.STREAM_STDOUT, data=bytes(65537))],
        [log_pb2.LogRecord(sequence=number, stream=log_pb2.LogRecord.STREAM_STDOUT) for number in (0, 2)],
        [log_pb2.LogRecord(sequence=number, stream=log_pb2.LogRecord.STREAM_STDOUT) for number in (1, 0)],
        [log_pb2.LogRecord(sequence=0, stream=77)],  # type: ignore[arg-type]
    ],
)
def test_records_that_no_journal_holds_are_refused(records: list[log_pb2.LogRecord]) -> None:
    with pytest.raises(InvalidArgument):
        logs.records_from(records)


@given(some.builds(LogSeal, *[some.integers(0, 1 << 60)] * 3, some.binary(min_size=32, max_size=32)))
def test_a_seal_comes_back(seal: LogSeal) -> None:
    assert logs.seal(wire.seal_to_wire(seal)) == seal


@given(some.binary(max_size=200), some.data())
def test_text_is_the_same_however_the_bytes_were_cut(data: bytes, cuts: some.DataObject) -> None:
    decoder, text, rest, number = logs.TextDecoder(), "", data + b"\n", 0
    while rest:
        size = cuts.draw(some.integers(1, len(rest)))
        record = LogRecord(number, 1, LogStream.STDOUT, rest[:size])
        text, rest, number = text + decoder.decode(record), rest[size:], number + 1
    assert text == (data + b"\n").decode("utf-8", "replace")


@given(some.integers(-(10**15), 10**15))
def test_durations_come_back_to_the_microsecond(micros: int) -> None:
    duration = times.duration(micros / MICROS)
    assert abs(duration.seconds * MICROS * 1000 + duration.nanos - micros * 1000) < 1000
    assert duration.seconds * duration.nanos >= 0, "both of one sign, as the format demands"
    if micros >= 0:
        assert times.micros_of(times.duration_us(micros)) == micros


@given(some.integers(0, 10**16))
def test_timestamps_come_back(at: int) -> None:
    stamp = times.timestamp(at)
    assert stamp is not None
    assert times.micros(stamp) == at


def test_every_word_has_a_number() -> None:
    for words, numbers in (
        (JobState, job_pb2.Job.State),
        (JobKind, job_pb2.Job.Kind),
        (AttemptState, job_pb2.Attempt.State),
        (OutcomeKind, outcome_pb2.Outcome.Kind),
        (LossPolicy, job_pb2.LossPolicy.Kind),
        (LogStream, log_pb2.LogRecord.Stream),
    ):
        known = {name.split("_", 1)[1] for name in numbers.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
        assert {word.name for word in words} == known


def test_a_phase_that_is_not_known_is_refused() -> None:
    held = dispatch_service_pb2.HeldAttempt(attempt_id="a", fence=1)
    with pytest.raises(InvalidArgument):
        dispatch.beat(dispatch_service_pb2.SyncRequest(attempts=[held]), lease_seconds=30)
