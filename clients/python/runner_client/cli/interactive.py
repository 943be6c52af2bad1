"""A command whose input is ours: what we are given goes to it, what it writes comes here, and its end is ours."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent import futures
from contextlib import ExitStack
from typing import TYPE_CHECKING

from runner.v1.log_stream_service_pb2 import StreamLogsResponse
from runner_client.cli.following import Interrupts, output_for
from runner_client.cli.outcomes import exit_code, explanation
from runner_client.cli.report import USAGE, CommandLineError, complain
from runner_client.cli.terminal import STDIN, DetachKeys, RawTerminal, terminal_size
from runner_client.cli.waiting import telling_why_it_waits

if TYPE_CHECKING:
    from runner_client.cli.session import Session
    from runner_client.client import AsyncClient
    from runner_client.exec import ExecSession

READ_BYTES = 32 * 1024


def check_terminal() -> None:
    """Raises `CommandLineError` when our standard input is no terminal."""
    if not os.isatty(STDIN):
        raise CommandLineError(
            "-t needs a terminal as standard input", "leave it out: -i alone passes a pipe on", code=USAGE
        )


class Interaction:
    """One command line connected with one job."""

    def __init__(
        self,
        command_line: Session,
        client: AsyncClient,
        session: ExecSession,
        *,
        terminal: bool | None,
        keyboard: bool,
    ) -> None:
        """``terminal`` None: as the job has it. ``keyboard``: our standard input is its input."""
        self._command_line = command_line
        self._client = client
        self._session = session
        self._terminal = terminal
        self._keyboard = keyboard
        self._output = output_for(as_json=command_line.json)
        self._keys: DetachKeys | None = None
        self._detached = asyncio.Event()
        self._prepared = asyncio.Event()
        """Our terminal is as it has to be to show a terminal in."""

    async def run(self, interrupts: Interrupts) -> int:
        """Connects until the job has ended or we detach; returns the exit code."""
        with ExitStack() as stack:
            preparing = asyncio.create_task(self._prepare(stack, interrupts))
            writing = asyncio.create_task(self._write())
            leaving = asyncio.create_task(self._detached.wait())
            noticing = asyncio.create_task(self._notice())
            tasks = {preparing, writing, leaving, noticing}
            try:
                await asyncio.wait({preparing, writing}, return_when=asyncio.FIRST_COMPLETED)
                if preparing.done():
                    preparing.result()
                await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            if not writing.cancelled():
                writing.result()
        end = self._session.end
        if end is None:
            complain("detached; the job goes on", f"`runner attach {self._session.job_id}`")
            return 0
        if sentence := explanation(end.state, end.outcome):
            complain(sentence)
        if not end.complete:
            complain("the end of its output is missing: its runner was lost")
        return exit_code(end.state, end.outcome)

    async def _prepare(self, stack: ExitStack, interrupts: Interrupts) -> None:
        try:
            await self._connect_ours(stack, interrupts)
        finally:
            self._prepared.set()

    async def _notice(self) -> None:
        await self._prepared.wait()
        job_id = self._session.job_id
        raw = self._keys is not None
        async with telling_why_it_waits(self._command_line, self._client, job_id, raw=lambda: raw):
            await self._detached.wait()

    async def _connect_ours(self, stack: ExitStack, interrupts: Interrupts) -> None:
        await self._session.started.wait()
        interrupts.found(self._session.job_id)
        if not self._keyboard or not self._session.takes_input:
            return
        if self._terminal is None:
            self._terminal = await self._has_terminal()
        if self._terminal and os.isatty(STDIN):
            raw = stack.enter_context(RawTerminal(resized=self._session.resize))
            interrupts.leaving = raw.restore
            self._keys = DetachKeys()
            self._session.resize(*terminal_size())
        threading.Thread(target=self._read, args=(asyncio.get_running_loop(),), daemon=True).start()

    async def _has_terminal(self) -> bool:
        from runner.v1.job_pb2 import JobSpec

        job = await self._client.get_job(self._session.job_id)
        return job.spec.stdin == JobSpec.STDIN_PTY

    async def _write(self) -> None:
        async for message in self._session.output():
            await self._prepared.wait()
            await self._output.write(
                StreamLogsResponse(cursor=message.cursor, records=message.records, attempt_id=message.attempt_id)
            )
        if self._session.end is not None:
            await self._output.write(StreamLogsResponse(end=self._session.end))

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own, which ends with the process: not every standard input can be waited for."""
        while True:
            try:
                data = os.read(STDIN, READ_BYTES)
            except OSError:
                data = b""
            typed = self._typed(data)
            try:
                asyncio.run_coroutine_threadsafe(typed, loop).result()
            except (RuntimeError, futures.CancelledError):
                typed.close()  # Else Python warns of what it never began.
                return  # The loop has ended.
            if not data or self._detached.is_set():
                return

    async def _typed(self, data: bytes) -> None:
        if not data:
            self._session.finish()
            return
        detach = False
        if self._keys is not None:
            data, detach = self._keys.take(data)
        await self._session.write(data)
        if detach:
            self._detached.set()
