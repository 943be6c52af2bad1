"""Jobs as rows of a table."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from runner_client.cli.outcomes import state_word, summary
from runner_client.cli.printable import printable
from runner_client.cli.values import format_duration

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from runner.v1.job_pb2 import Job, Step

HEADS = ("JOB ID", "STATE", "RESULT", "ORIGIN", "AGE", "TIME", "COMMAND")


def rows(jobs: Iterable[Job], now: datetime) -> list[tuple[str, ...]]:
    """Returns a row for each job. ``now``: aware, on a clock like the server's."""
    return [
        (
            job.job_id,
            "cancelling" if job.HasField("cancel") and not job.HasField("finish_time") else state_word(job.state),
            summary(job.state, job.outcome) or "-",
            job.origin or "-",
            format_duration((now - _moment(job.create_time)).total_seconds()),
            _run_time(job, now),
            job_text(job),
        )
        for job in jobs
    ]


def job_text(job: Job) -> str:
    """Returns what a job runs, on one line."""
    steps = job.spec.steps
    if not steps:
        return "-"
    more = f" (+{len(steps) - 1} steps)" if len(steps) > 1 else ""
    return command_text(steps[0]) + more


def command_text(step: Step) -> str:
    """Returns what a step runs, on one line, nothing in it that a terminal would obey."""
    if step.WhichOneof("run") == "argv":
        text = shlex.join(step.argv.args)
    else:
        lines = step.script.strip().splitlines() or [""]
        text = lines[0] + (" …" if len(lines) > 1 else "")
    return printable(text)


def local_time(moment: Timestamp) -> str:
    return _moment(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _run_time(job: Job, now: datetime) -> str:
    if not job.HasField("start_time"):
        return "-"
    end = _moment(job.finish_time) if job.HasField("finish_time") else now
    return format_duration((end - _moment(job.start_time)) / timedelta(seconds=1))


def _moment(moment: Timestamp) -> datetime:
    return moment.ToDatetime(UTC)
