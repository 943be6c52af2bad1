"""`runner logs`: the output of a job, byte for byte."""

from __future__ import annotations

from contextlib import nullcontext

import click

from runner_client.cli.report import USAGE, CommandLineError
from runner_client.cli.session import Session, command


@command("logs")
@click.argument("job_id", metavar="JOB_ID")
@click.option("-f", "--follow", is_flag=True, help="Go on live until the job has ended.")
@click.option("--stdout", is_flag=True, help="Only its standard output.")
@click.option("--stderr", is_flag=True, help="Only its standard error.")
@click.option("--cursor", default="", help="Begin behind this cursor, as --json prints it.")
def command_line(session: Session, job_id: str, *, follow: bool, stdout: bool, stderr: bool, cursor: str) -> int:
    """Print the output of a job, byte for byte.

    Its stdout goes to stdout, its stderr to stderr; nothing is added.
    """
    if stdout and stderr:
        raise CommandLineError("--stdout and --stderr exclude each other", "leave both out for both", code=USAGE)
    return session.run(_logs(session, job_id, follow=follow, stdout=stdout, stderr=stderr, cursor=cursor))


async def _logs(session: Session, text: str, *, follow: bool, stdout: bool, stderr: bool, cursor: str) -> int:
    from runner.v1.log_pb2 import LogRecord
    from runner_client.cli.following import output_for
    from runner_client.cli.job_ids import whole_job_id
    from runner_client.cli.waiting import telling_why_it_waits

    streams: list[LogRecord.Stream.ValueType] = []
    if stdout:
        streams = [LogRecord.STREAM_STDOUT, LogRecord.STREAM_PTY]
    elif stderr:
        streams = [LogRecord.STREAM_STDERR]
    output = output_for(as_json=session.json)
    async with session.client() as client:
        job_id = await whole_job_id(client, text)
        async with telling_why_it_waits(session, client, job_id) if follow else nullcontext():
            async for message in client.follow(job_id, cursor=cursor, follow=follow, streams=streams):
                await output.write(message)
    return 0
