"""`runner show`: one job, in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner_client.cli.session import Session, command

if TYPE_CHECKING:
    from runner.v1.job_pb2 import Attempt, Job, Limits


@command("show")
@click.argument("job_id", metavar="JOB_ID")
def command_line(session: Session, job_id: str) -> int:
    """Show one job in full.

    What it runs, where it stands and why it waits, and its attempts.
    """
    return session.run(_show(session, job_id))


async def _show(session: Session, text: str) -> int:
    from runner_client.cli.job_ids import whole_job_id
    from runner_client.cli.output import as_json, print_json, print_line

    async with session.client() as client:
        job_id = await whole_job_id(client, text)
        job = await client.get_job(job_id)
        attempts = await client.list_attempts(job_id)
    if session.json:
        print_json(as_json(job) | {"attemptList": [as_json(attempt) for attempt in attempts]})
        return 0
    facts = [*_facts(job), *_attempt_facts(attempts)]
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print_line(f"{name:<{width}}  {value}")
    return 0


def _facts(job: Job) -> list[tuple[str, str]]:
    """Returns name and value of what there is to say."""
    from runner_client.cli.jobs_table import command_text, local_time
    from runner_client.cli.outcomes import explanation, state_word, summary
    from runner_client.cli.outcomes import facts as outcome_facts
    from runner_client.cli.values import format_duration

    spec = job.spec
    retry = f"up to {spec.retry.max_attempts} attempts" if spec.retry.max_attempts > 1 else ""
    timeout = format_duration(spec.timeout.ToNanoseconds() / 1e9) if spec.HasField("timeout") else ""
    cancelled = ""
    if job.HasField("cancel"):
        cancelled = " ".join(filter(None, [local_time(job.cancel.time), f"by {job.cancel.by}", job.cancel.reason]))
    facts = [
        ("job", job.job_id),
        ("state", state_word(job.state)),
        ("outcome", summary(job.state, job.outcome)),
        ("because", explanation(job.state, job.outcome) if job.HasField("outcome") else ""),
        *(outcome_facts(job.outcome) if job.HasField("outcome") else ()),
        ("waits because", job.waiting),
        ("origin", job.origin),
        ("retry of", job.retry_of),
        ("created", local_time(job.create_time) if job.HasField("create_time") else ""),
        ("started", local_time(job.start_time) if job.HasField("start_time") else ""),
        ("finished", local_time(job.finish_time) if job.HasField("finish_time") else ""),
        ("cancelled", cancelled),
        ("priority", str(job.priority) if job.priority else ""),
        ("timeout", timeout),
        ("limits", _limits(spec.limits)),
        ("retry", retry),
        ("image", spec.container.image),
        ("directory", spec.working_directory),
        *((f"tag {key}", value) for key, value in sorted(job.tags.items())),
        *((f"needs {key}", value) for key, value in sorted(spec.required_labels.items())),
        *((f"env {key}", value) for key, value in sorted(spec.environment.items())),
        *((f"step {step.name or number}", command_text(step)) for number, step in enumerate(spec.steps, 1)),
    ]
    return [(name, value) for name, value in facts if value]


def _limits(limits: Limits) -> str:
    from runner_client.cli.values import format_size

    found = [
        f"{limits.cpus:g} processors" if limits.cpus else "",
        f"{format_size(limits.memory_bytes)} of memory" if limits.memory_bytes else "",
        f"{limits.processes} processes" if limits.processes else "",
        f"{format_size(limits.disk_bytes)} on disk" if limits.disk_bytes else "",
    ]
    return ", ".join(filter(None, found))


def _attempt_facts(attempts: list[Attempt]) -> list[tuple[str, str]]:
    from runner.v1.job_pb2 import Attempt, Job
    from runner_client.cli.outcomes import summary

    facts = []
    for attempt in attempts:
        how = summary(Job.STATE_UNSPECIFIED, attempt.outcome) if attempt.HasField("outcome") else ""
        word = Attempt.State.Name(attempt.state).removeprefix("STATE_").lower()
        facts.append((f"attempt {attempt.number}", " ".join(filter(None, [word, how, f"on {attempt.runner_id}"]))))
    return facts
