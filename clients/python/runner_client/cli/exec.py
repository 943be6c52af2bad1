"""`runner exec`: run a command on a runner as if it were here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from runner_client.cli.report import UNKNOWN
from runner_client.cli.session import Session, command
from runner_client.cli.values import Duration, Size, pairs, secret_pairs

if TYPE_CHECKING:
    from runner.v1.job_pb2 import Container, Limits


@command("exec", context_settings={"allow_interspersed_args": False})
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Set a variable, repeatable.")
@click.option("--cwd", default="", metavar="DIR", help="Absolute path on the runner. Default: a fresh directory.")
@click.option("--timeout", type=Duration(), help="End it after 30s, 1h30m … Default: the server's.")
@click.option("--queue-timeout", type=Duration(), help="End it when no runner has taken it after 30s, 5m …")
@click.option(
    "--label", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Need a runner with this label, repeatable."
)
@click.option(
    "--tag", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Mark it, to find it again, repeatable."
)
@click.option("--priority", type=click.IntRange(-1_000, 1_000), default=0, metavar="N", help="Higher runs first.")
@click.option("--cpus", type=click.FloatRange(min=0, min_open=True), help="Processors for it, such as 1.5.")
@click.option("--memory", type=Size(), help="Memory for it: 512M, 2G …")
@click.option("--disk", type=Size(), help="Disk for its own directory: 512M, 10G …")
@click.option("--image", default="", metavar="IMAGE", help="Run it in a container of this image.")
@click.option("--processes", type=click.IntRange(min=1), metavar="N", help="Processes and threads at one time.")
@click.option(
    "--secret",
    multiple=True,
    callback=secret_pairs,
    metavar="VAR[=NAME]",
    help="Set a variable to a secret of the server, repeatable.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="FILE[:PATH]",
    help="Have it find this file of ours, or an artifact:ID, in its directory, repeatable.",
)
@click.option("--output", "outputs", multiple=True, metavar="PATTERN", help="Keep what it leaves so named, repeatable.")
@click.option("-i", "--interactive", is_flag=True, help="Pass our standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal, and show that in ours. Mostly as -it.")
@click.option("--id", "name", default="", metavar="NAME", help="To attach by; again with the same: attach to it.")
@click.option("-d", "--detach", is_flag=True, help="Print the job id and leave it running.")
@click.argument("argv", nargs=-1, required=True, metavar="[--] COMMAND [ARGS]...", type=click.UNPROCESSED)
def command_line(
    session: Session,
    argv: tuple[str, ...],
    *,
    env: dict[str, str],
    cwd: str,
    timeout: float | None,
    queue_timeout: float | None,
    label: dict[str, str],
    tag: dict[str, str],
    priority: int,
    cpus: float | None,
    memory: int | None,
    processes: int | None,
    disk: int | None,
    image: str,
    secret: dict[str, str],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    interactive: bool,
    tty: bool,
    name: str,
    detach: bool,
) -> int:
    """Run a command and stream its output, as if it ran here.

    Options of `runner exec` stand before the command: runner exec --cwd /srv -- make -j4

    With -i our standard input is the command's; with -it in a terminal of its own, which Ctrl-P Ctrl-Q leaves to
    itself: `runner attach` comes back.

    Ctrl-C cancels it, a second one leaves at once. The exit code is the command's; 124: it ran out of time; 125:
    nobody knows how it ended; 126 and 127: it could not be started; 130: cancelled; 128+N: ended by signal N.
    """
    return session.run(
        _execute(
            session,
            argv,
            environment=env,
            working_directory=cwd,
            timeout=timeout,
            queue_timeout=queue_timeout,
            required_labels=label,
            tags=tag,
            priority=priority,
            limits=_limits_of(cpus=cpus, memory=memory, processes=processes, disk=disk),
            container=_container_of(image),
            request_id=name or None,
            secrets=secret,
            inputs=inputs,
            outputs=outputs,
            interactive=interactive,
            tty=tty,
            detach=detach,
        ),
        failure=UNKNOWN,
    )


def _container_of(image: str) -> Container | None:
    if not image:
        return None
    from runner.v1.job_pb2 import Container

    return Container(image=image)


def _limits_of(*, cpus: float | None, memory: int | None, processes: int | None, disk: int | None) -> Limits | None:
    """What was said of limits; None for nothing."""
    if cpus is memory is processes is disk is None:
        return None
    from runner.v1.job_pb2 import Limits

    return Limits(cpus=cpus or 0.0, memory_bytes=memory or 0, processes=processes or 0, disk_bytes=disk or 0)


async def _execute(
    session: Session, argv: tuple[str, ...], *, interactive: bool, tty: bool, detach: bool, **options: Any
) -> int:
    from runner_client.cli.files import uploaded
    from runner_client.cli.following import Interrupts, follow_to_end, output_for
    from runner_client.cli.output import as_json, print_json, print_line
    from runner_client.cli.waiting import telling_why_it_waits

    terminal = None
    if tty:
        from runner_client.cli.interactive import check_terminal
        from runner_client.cli.terminal import terminal_size

        if interactive and not detach:
            check_terminal()
        terminal = terminal_size()
        options["environment"] = {"TERM": os.environ.get("TERM", "xterm")} | options["environment"]
    if (interactive or tty) and not detach:
        return await _interact(session, argv, terminal=terminal, keyboard=interactive, **options)
    if interactive or tty:
        options |= {"interactive": True, "terminal": terminal}
    async with session.client() as client:
        options["inputs"] = await uploaded(client, options["inputs"])
        with Interrupts(client) as interrupts:
            job = await client.run(argv, **options)
            interrupts.found(job.job_id)
            if not detach:
                output = output_for(as_json=session.json)
                async with telling_why_it_waits(session, client, job.job_id):
                    return await follow_to_end(client, job.job_id, output, cancel_when_unread=True)
    if session.json:
        print_json(as_json(job))
    else:
        print_line(job.job_id)
    return 0


async def _interact(
    session: Session, argv: tuple[str, ...], *, terminal: tuple[int, int] | None, keyboard: bool, **options: Any
) -> int:
    from runner_client.cli.files import uploaded
    from runner_client.cli.following import Interrupts
    from runner_client.cli.interactive import Interaction

    async with session.client() as client:
        options["inputs"] = await uploaded(client, options["inputs"])
        connection = client.exec(argv, terminal=terminal, **options)
        interaction = Interaction(session, client, connection, terminal=terminal is not None, keyboard=keyboard)
        with Interrupts(client) as interrupts:
            return await interaction.run(interrupts)
