"""Between the wire and the domain: nothing gets lost, and every kind has its word."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from runner.v1 import job_pb2, log_pb2, outcome_pb2
from runner_service.domain.jobs import JobSpec, Step
from runner_service.domain.logs import LogRecord, LogSeal, LogStream
from runner_service.domain.outcomes import Outcome, OutcomeKind, Usage
from runner_service.worker.wire import outcome_to_wire, records_to_wire, seal_to_wire, spec_of


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_kind_of_outcome_has_a_word_on_the_wire(kind: OutcomeKind) -> None:
    assert outcome_pb2.Outcome.Kind.Name(outcome_to_wire(Outcome(kind=kind)).kind) == f"KIND_{kind}"


@pytest.mark.parametrize("stream", LogStream)
def test_every_stream_has_a_word_on_the_wire(stream: LogStream) -> None:
    (record,) = records_to_wire([LogRecord(4, 1_500_000_000_000_000_007, stream, b"\x00\xff", 12)])
    assert log_pb2.LogRecord.Stream.Name(record.stream) == f"STREAM_{stream.name}"
    assert (record.sequence, record.data, record.gap_bytes) == (4, b"\x00\xff", 12)
    assert (record.time.seconds, record.time.nanos) == (1_500_000_000, 7)


def test_an_exit_code_of_zero_is_said_and_none_is_not() -> None:
    assert outcome_to_wire(Outcome(kind=OutcomeKind.EXITED, exit_code=0)).HasField("exit_code")
    assert not outcome_to_wire(Outcome(kind=OutcomeKind.SIGNALED, signal=9)).HasField("exit_code")


def test_an_outcome_says_all_it_knows() -> None:
    usage = Usage(wall_us=1_500_000, cpu_us=20, max_rss_bytes=4096)
    outcome = outcome_to_wire(
        Outcome(kind=OutcomeKind.CANCELLED, detail="user", message="asked", step=2, survivors=1, usage=usage)
    )
    assert (outcome.detail, outcome.message, outcome.step, outcome.survivors) == ("user", "asked", 2, 1)
    assert outcome.usage.wall_time == Duration(seconds=1, nanos=500_000_000)
    assert outcome.usage.cpu_time == Duration(nanos=20_000)
    assert outcome.usage.max_rss_bytes == 4096


def test_a_seal_is_written_whole() -> None:
    seal = seal_to_wire(LogSeal(3, 10, 20, b"s" * 32))
    assert (seal.records, seal.stdout_bytes, seal.stderr_bytes, seal.sha256) == (3, 10, 20, b"s" * 32)


def test_a_spec_is_read_whole() -> None:
    spec = spec_of(
        job_pb2.JobSpec(
            steps=[
                job_pb2.Step(name="a", script="exit 1"),
                job_pb2.Step(argv=job_pb2.Argv(args=["ls", "-l"])),
            ],
            environment={"A": "1"},
            working_directory="/srv",
            timeout=Duration(seconds=2, nanos=500_000_000),
            kill_grace=Duration(),
            log_limit_bytes=77,
        )
    )
    assert spec == JobSpec(
        steps=(Step(name="a", script="exit 1"), Step(argv=("ls", "-l"))),
        environment={"A": "1"},
        working_directory="/srv",
        timeout_seconds=2.5,
        kill_grace_seconds=0.0,
        log_limit_bytes=77,
    )


def test_a_timeout_that_has_passed_stays_passed() -> None:
    assert spec_of(job_pb2.JobSpec(timeout=Duration(seconds=-1))).timeout_seconds == -1.0
