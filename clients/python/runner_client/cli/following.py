"""Following a job to its end on a terminal: its output, Ctrl-C, and readers that go away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from runner.v1.log_pb2 import LogEnd
from runner_client.cli.outcomes import exit_code, explanation
from runner_client.cli.output import JsonOutput, Output, RawOutput
from runner_client.cli.report import INTERRUPTED, complain
from runner_client.errors import ClientError, FailedPrecondition

if TYPE_CHECKING:
    from runner_client.client import AsyncClient

CANCEL_SECONDS = 5.0
"""How long a command whose reader has gone is still given to take our cancel."""

Cancel = Callable[[str], Awaitable[None]]


class Interrupts:
    """Ctrl-C, TERM and HUP while a command of ours runs: the first asks for its cancel, the second leaves at once.

    A context manager, inside the loop. ``job_id`` is set when it is known; an early Ctrl-C takes effect then.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._job_id = ""
        self._asked = ""
        self._cancelling: asyncio.Task[None] | None = None
        self.leaving: Callable[[], object] = lambda: None
        """What must be done before we leave at once."""

    def __enter__(self) -> Interrupts:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._interrupt, number)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        if self._cancelling is not None:
            self._cancelling.cancel()

    def found(self, job_id: str) -> None:
        """Says which job it is about."""
        self._job_id = job_id
        if self._asked:
            self._cancel()

    def _interrupt(self, number: signal.Signals) -> None:
        if self._asked:
            self.leaving()
            os._exit(INTERRUPTED)
        self._asked = f"the caller got {number.name}"
        if self._job_id:
            self._cancel()

    def _cancel(self) -> None:
        self._cancelling = asyncio.create_task(cancel_quietly(self._client, self._job_id, self._asked))


async def cancel_quietly(client: AsyncClient, job_id: str, reason: str) -> None:
    """Cancels; that it ended meanwhile is no error, and another one is said."""
    try:
        await client.cancel(job_id, reason=reason)
    except FailedPrecondition:
        pass  # it has ended by itself
    except ClientError as error:
        complain(f"cannot cancel {job_id}: {error.message}", f"`runner cancel {job_id}`")


async def follow_to_end(client: AsyncClient, job_id: str, output: Output, *, cancel_when_unread: bool) -> int:
    """Writes the log of a job as it comes and returns the job's exit code.

    When nobody reads stdout any more, or the disk is full, that error is raised, and with ``cancel_when_unread`` the
    job is cancelled first, as SIGPIPE would end a local command.
    """
    end = LogEnd()
    try:
        async for message in client.follow(job_id):
            await output.write(message)
            end = message.end
    except OSError:
        if cancel_when_unread:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(cancel_quietly(client, job_id, "nobody reads its output"), CANCEL_SECONDS)
        raise
    if sentence := explanation(end.state, end.outcome):
        complain(sentence)
    if not end.complete:
        complain("the end of its output is missing: its runner was lost")
    return exit_code(end.state, end.outcome)


def output_for(*, as_json: bool) -> Output:
    return JsonOutput() if as_json else RawOutput()
