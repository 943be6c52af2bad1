"""The job that requests are made of: about 0.9 KB of JSON, a bit of every kind of member."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from runner.v1.job_pb2 import Argv, Job, JobSpec, Step
from runner.v1.job_service_pb2 import CreateJobRequest
from runner.v1.outcome_pb2 import Outcome, Usage

JOB_ID = "0193b0c2-7a1e-7c3d-9f10-5b2f4d6a8e01"


def sample_spec() -> JobSpec:
    """What is asked for."""
    return JobSpec(
        steps=[
            Step(name="build", argv=Argv(args=["make", "-j4", "all"])),
            Step(name="test", script="set -e\nmake test | tee test.log\n"),
        ],
        environment={"CI": "true", "LANG": "C.UTF-8"},
        working_directory="/srv/checkouts/runner-service",
        timeout=Duration(seconds=1800),
        required_labels={"os": "linux"},
        log_limit_bytes=1 << 30,
    )


def sample_job() -> Job:
    """How it stands afterwards."""
    time = Timestamp(seconds=1_760_000_000, nanos=123_456_000)
    return Job(
        job_id=JOB_ID,
        kind=Job.KIND_JOB,
        origin="native",
        spec=sample_spec(),
        state=Job.STATE_SUCCEEDED,
        tags={"branch": "main", "team": "infrastructure"},
        create_time=time,
        start_time=time,
        finish_time=time,
        attempts=1,
        attempt_id="0193b0c2-7a1e-7c3d-9f10-5b2f4d6a8e02",
        runner_id="0193b0c2-7a1e-7c3d-9f10-5b2f4d6a8e03",
        outcome=Outcome(
            kind=Outcome.KIND_EXITED,
            exit_code=0,
            usage=Usage(wall_time=Duration(seconds=12, nanos=500_000_000), max_rss_bytes=123_456_789),
        ),
    )


def sample_request() -> CreateJobRequest:
    """A request for something of that size."""
    return CreateJobRequest(
        spec=sample_spec(),
        tags={"branch": "main", "team": "infrastructure", "commit": "6f1d2c3b4a5968778695a4b3c2d1e0f123456789"},
        request_id="0193b0c27a1e7c3d9f105b2f4d6a8e04",
    )
