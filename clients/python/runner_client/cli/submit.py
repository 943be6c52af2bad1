"""`runner submit`: a job from a file."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner_client.cli.report import INTERRUPTED, UNKNOWN, USAGE, CommandLineError, complain
from runner_client.cli.session import Session, command

if TYPE_CHECKING:
    from runner.v1.job_pb2 import Job
    from runner_client import AsyncClient
    from runner_client.cli.job_file import JobFile


@command("submit")
@click.argument("file", metavar="FILE|-")
@click.option("-f", "--follow", is_flag=True, help="Stream its output; the job id goes to stderr.")
@click.option("-w", "--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--id", "name", default="", metavar="NAME", help="Submitted again with it: the same job, no second one.")
@click.option("-q", "--queue", metavar="NAME", help="Place it on this lab queue, for whoever serves it.")
def command_line(session: Session, file: str, *, follow: bool, wait: bool, name: str, queue: str | None) -> int:
    """Submit a job from a file and print its id.

    The file is YAML or JSON; `-` is stdin. With --queue it may also be a lab's own definition of a job.

    With --follow or --wait it exits as `runner exec` would. Ctrl-C then leaves, and the job goes on.
    """
    if name and queue:
        raise CommandLineError("--id does not go with --queue", "leave one of them out", code=USAGE)
    failure = UNKNOWN if follow or wait else 1
    return session.run(_submit(session, _read(file, queue), name, follow=follow, wait=wait), failure=failure)


@dataclass(frozen=True)
class _QueueJob:
    """A job for a queue."""

    queue: str
    definition: bytes


def _read(file: str, queue: str | None) -> JobFile | _QueueJob:
    from runner_client.cli.job_file import JobFileError, parse_job_file
    from runner_client.cli.queue_file import parse_queue_file

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandLineError(f"cannot read {file}: {error.strerror}", "name a job file", code=USAGE) from None
    except UnicodeDecodeError:
        raise CommandLineError(f"{file} is not UTF-8 text", "name a YAML or JSON file", code=USAGE) from None
    try:
        return parse_job_file(text) if queue is None else _QueueJob(queue, parse_queue_file(text, queue))
    except JobFileError as error:
        place = "" if error.line is None else f":{error.line}"
        raise CommandLineError(f"{file}{place}: {error}", error.advice, code=USAGE) from None


async def _create(client: AsyncClient, wanted: JobFile | _QueueJob, name: str) -> Job:
    if isinstance(wanted, _QueueJob):
        # An id of our own makes the call one that can be repeated.
        pushed = await client.queues.push(wanted.queue, wanted.definition, job_id=str(uuid.uuid4()))
        return pushed.job
    return await client.create_job(wanted.spec, priority=wanted.priority, tags=wanted.tags, request_id=name or None)


async def _submit(session: Session, wanted: JobFile | _QueueJob, name: str, *, follow: bool, wait: bool) -> int:
    async with session.client() as client:
        job = await _create(client, wanted, name)
        return await see_through(session, client, job, follow=follow, wait=wait)


async def see_through(session: Session, client: AsyncClient, job: Job, *, follow: bool, wait: bool) -> int:
    """Prints which job was made, follows it or waits for its end if that is wanted, and returns the exit code."""
    import asyncio

    from runner_client.cli.following import follow_to_end, output_for
    from runner_client.cli.output import as_json, print_json, print_line
    from runner_client.cli.wait import wait_for_end
    from runner_client.cli.waiting import telling_why_it_waits

    if follow:
        complain(f"job {job.job_id}")
    elif session.json:
        print_json(as_json(job))
    else:
        print_line(job.job_id)
    try:
        if follow:
            output = output_for(as_json=session.json)
            async with telling_why_it_waits(session, client, job.job_id):
                return await follow_to_end(client, job.job_id, output, cancel_when_unread=False)
        if wait:
            return await wait_for_end(session, client, job.job_id)
    except asyncio.CancelledError:
        complain("left; the job goes on", f"`runner logs -f {job.job_id}`")
        return INTERRUPTED
    return 0
