"""The worker's side of the supervisor: one connection, requests, events.

A client never reconnects by itself: when the supervisor dies, its jobs die with it, and whoever holds the client has
to know. `Client.lost` tells; then connect anew, which starts another supervisor and lists the jobs as LOST.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from runner_service.domain.inputs import InputRecord
from runner_service.domain.logs import LogSeal
from runner_service.domain.outcomes import Outcome, OutcomeKind, Usage
from runner_service.worker.supervisor import wire
from runner_service.worker.supervisor.launch import LaunchFailed, Options, launch, reap
from runner_service.worker.supervisor.paths import Layout, socket_path
from runner_service.worker.supervisor.wire import Known, Message, Plan

OnEvent = Callable[[Message], None]
"""Called in order, between two steps of the event loop; must not block."""


class SupervisorGone(Exception):
    """The connection to the supervisor ended. Whether the last request was carried out is not known."""


class SupervisorRefused(Exception):
    """The supervisor answered with an error; ``code`` is one of `wire`'s."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """A connection to the supervisor of a directory. Made by `connect`, or with its attempts by `meet`."""

    def __init__(self, connection: _Connection, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout
        self.pid = 0
        self.guard_pid = 0
        self.boot_id = ""
        self.spool_id = ""

    @classmethod
    async def connect(cls, directory: str, on_event: OnEvent, options: Options = Options()) -> Client:  # noqa: B008
        """Connects to the supervisor of ``directory``, after starting one when there is none. `hello` must follow.

        Raises:
            LaunchFailed: It cannot be started.
        """
        path = socket_path(directory)
        loop = asyncio.get_running_loop()
        for _ in range(3):  # One that exits because it is idle may be met on its way out.
            try:
                _, connection = await loop.create_unix_connection(lambda: _Connection(on_event), path)
                return cls(connection, Layout(directory))
            except (FileNotFoundError, ConnectionError):
                await launch(directory, options)
        raise LaunchFailed("it exits as soon as it is started")

    @classmethod
    async def meet(
        cls, directory: str, on_event: OnEvent, options: Options = Options(),  # noqa: B008
    ) -> tuple[Client, list[Known]]:  # fmt: skip
        """`connect` and `hello`.

        Raises:
            LaunchFailed, SupervisorGone, SupervisorRefused: As they do.
        """
        for _ in range(2):
            made = await cls.connect(directory, on_event, options)
            try:
                return made, await made.hello()
            except SupervisorGone:  # Its socket still took the connection, and it exited: it had been idle.
                made.abandon()
            except BaseException:
                made.abandon()
                raise
        raise SupervisorGone

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done when the connection has ended, whoever ended it."""
        return self._connection.lost

    def journal(self, attempt_id: str) -> str:
        """Path of the journal of an attempt."""
        return self._layout.journal(attempt_id)

    async def hello(self) -> list[Known]:
        """Becomes the supervisor's worker and lists every attempt it knows. Events come from now on.

        Raises:
            SupervisorGone: The connection ended, as for every request.
            SupervisorRefused: It speaks another version of the protocol.
        """
        reply = await self._request("hello")
        if reply["protocol"] != wire.PROTOCOL:
            raise SupervisorRefused("PROTOCOL", f"it speaks version {reply['protocol']}, not {wire.PROTOCOL}")
        self.pid, self.guard_pid, self.boot_id = reply["pid"], reply["guard_pid"], reply["boot_id"]
        self.spool_id = reply.get("spool_id", "")  # A supervisor may be older than its worker.
        return [Known(**known) for known in reply["attempts"]]

    async def start(self, attempt_id: str, fence: int, plan: Plan) -> None:
        """Starts an attempt; the same again does nothing. What stops it from starting is its outcome, not an error.

        Raises:
            SupervisorRefused: FENCE_MISMATCH, STOPPING or INVALID.
        """
        await self._request("start", attempt_id=attempt_id, fence=fence, plan=plan._asdict())

    async def kill(self, attempt_id: str, cause: str, detail: str = "") -> None:
        await self._request("kill", attempt_id=attempt_id, cause=cause, detail=detail)

    async def hurry(self) -> None:
        """Ends the grace of every attempt that is being ended."""
        await self._request("hurry")

    async def forget(self, attempt_id: str) -> None:
        await self._request("forget", attempt_id=attempt_id)

    async def deadline(self, at_ns: int | None, attempt_id: str | None = None) -> None:
        """Sets the self-stop deadline, CLOCK_MONOTONIC, of one attempt or all."""
        await self._request("deadline", attempt_id=attempt_id, at_ns=at_ns)

    async def acked(self, attempt_id: str, size: int) -> None:
        await self._request("acked", attempt_id=attempt_id, bytes=size)

    async def input(self, attempt_id: str, offset: int, records: Sequence[InputRecord]) -> int:
        """Gives input to an attempt. Returns the place behind what it has then; -1: it is over, or takes none."""
        sent = [(int(record.kind), b2a_base64(record.payload, newline=False).decode()) for record in records]
        return int((await self._request("input", attempt_id=attempt_id, offset=offset, records=sent))["received"])

    async def shutdown(self) -> None:
        """Asks it to end every attempt and exit; `lost` is done when it does."""
        await self._request("shutdown")

    async def end(self) -> None:
        """`shutdown`, until nothing of it is left: its guard, which cleans up behind it, has exited too."""
        with _process(self.guard_pid, like=self.pid) as guard:
            with contextlib.suppress(SupervisorGone):
                await self.shutdown()
            await asyncio.wait((self.lost,))
            if guard is not None:
                await _exit_of(guard)

    async def close(self) -> None:
        """Lets go; the supervisor and its jobs go on."""
        self._connection.close()
        await asyncio.wait((self._connection.lost,))
        reap()

    def abandon(self) -> None:
        """`close` without waiting for it."""
        self._connection.close()

    async def _request(self, operation: str, **arguments: Any) -> Message:
        return await self._connection.request({"op": operation, **arguments})


@contextlib.contextmanager
def _process(pid: int, *, like: int) -> Iterator[int | None]:
    """A pidfd; None unless this is another process of the same program. Who has lost its parent tells of init."""
    try:
        if _command(pid) != _command(like):
            raise ProcessLookupError
        fd = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def _exit_of(pidfd: int) -> None:
    loop = asyncio.get_running_loop()
    exited = asyncio.Event()
    loop.add_reader(pidfd, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(pidfd)


class _Connection(asyncio.Protocol):
    """Frames in both directions, and who waits for which reply."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._incoming = bytearray()
        self._outgoing: list[bytes] = []
        """Of this turn of the loop: sent together, for each send wakes the supervisor."""
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._count = 0
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def request(self, message: Message) -> Message:
        if self._transport is None or self.lost.done():
            raise SupervisorGone
        self._count += 1
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting[self._count] = future
        message["id"] = self._count
        if not self._outgoing:
            loop.call_soon(self._flush)
        self._outgoing.append(wire.pack(message))
        reply: Message = await future
        if "error" in reply:
            raise SupervisorRefused(reply["error"]["code"], reply["error"]["message"])
        return reply

    def close(self) -> None:
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        if self._outgoing and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._incoming += data
        for message in wire.unpack(self._incoming):
            if "event" in message:
                self._on_event(message)
                continue
            waiting = self._waiting.pop(message["re"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(SupervisorGone())
        self._waiting.clear()
        if not self.lost.done():
            self.lost.set_result(None)


def outcome(message: Message) -> Outcome:
    """An outcome from its JSON form."""
    return Outcome(
        kind=OutcomeKind(message["kind"]),
        exit_code=message.get("exit_code"),
        signal=message.get("signal"),
        detail=message.get("detail", ""),
        message=message.get("message", ""),
        step=message.get("step", 0),
        survivors=message.get("survivors", 0),
        usage=Usage(**message.get("usage", {})),
        unenforced_limits=tuple(message.get("unenforced_limits", ())),
        step_codes=tuple(message.get("step_codes", ())),
    )


def seal(message: Message) -> LogSeal:
    """A seal from its JSON form."""
    return LogSeal(
        message["records"], message["stdout_bytes"], message["stderr_bytes"], bytes.fromhex(message["sha256"])
    )
