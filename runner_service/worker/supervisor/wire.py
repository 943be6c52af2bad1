"""The protocol between worker and supervisor.

A unix stream socket carries frames in both directions: u32 little-endian length, then one JSON object. The worker
sends requests, each with a number ``id``; the supervisor sends one reply per request, in order, and events between
them. A connection becomes *the* worker's with its ``hello``; the one before it is closed, and what it had asked for and
is not in the reply to the hello is never done. Until its hello a connection may ask for nothing else.

::

    request                                             reply (besides "re": id)
    hello     {}                                        protocol pid guard_pid boot_id spool_id attempts: [Known]
    start     attempt_id fence plan                     {}   again with the same fence: nothing happens
    kill      attempt_id cause detail                   {}   cause: cancel | shutdown | stale | self_stop
    hurry     {}                                        {}   the grace of what is being ended is over
    forget    attempt_id                                {}   of an ended attempt; else nothing happens
    deadline  attempt_id|null at_ns|null                {}   CLOCK_MONOTONIC; null attempt: all, now and later
    acked     attempt_id bytes                          {}   nobody has to read the spool below it any more
    input     attempt_id offset records                 received: the place behind what it has
    shutdown  {}                                        {}   ends every attempt, then exits
    refused:                                            error: code, message: a sentence

    event
    started   attempt_id at_us pid
    output    sizes: {attempt_id: spool bytes}
    input     written: {attempt_id: the place behind what the processes were given}
    ended     attempt_id outcome size seal
    replaced                       a newer worker said hello; this connection is closed

A record of input is ``[kind, payload in base64]``, see `domain.inputs`. The supervisor takes what has room, from the
place behind what it has; the rest is to be sent again when some was written.

Of one attempt the events come in the order started, output, ended. ``output`` is coalesced, and not repeated after a
reconnect: the hello says the size.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

from runner_service.worker.supervisor.compact import encode

PROTOCOL = 1
MAX_FRAME_BYTES = 8 << 20
"""A plan holds arguments and environment, which the service caps at 1 MiB."""

Message = dict[str, Any]

PREPARED, RUNNING, ENDED = "PREPARED", "RUNNING", "ENDED"

FENCE_MISMATCH = "FENCE_MISMATCH"
INVALID = "INVALID"
STOPPING = "STOPPING"

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""Of no bytes."""

_LENGTH = struct.Struct("<I")
_decode = json.JSONDecoder().decode


class Plan(NamedTuple):
    """What to run, with nothing left to resolve."""

    steps: list[list[str]]
    """An argument vector each."""
    environment: dict[str, str]
    working_directory: str = ""
    """Empty: a fresh one."""
    timeout_seconds: float = 1800.0
    kill_grace_seconds: float = 5.0
    log_limit_bytes: int = 1 << 30
    stdin: str = "NULL"
    """NULL, PIPE or PTY."""
    secrets: list[str] = []  # noqa: RUF012  Of a NamedTuple, and never changed.
    """What must not stand in the journal; the environment has them too."""
    staged: str = ""
    """A directory that becomes its working directory. Empty: a fresh one."""
    outputs: list[str] = []  # noqa: RUF012
    """For the worker, which may be another one when it ends."""
    terminal: tuple[int, int] = (24, 80)
    """Rows and columns that the terminal of a PTY begins with."""
    idle_seconds: float = 0.0
    """Without output for so long it is ended; 0: never."""
    spool_policy: str = "BLOCK"
    """While the spool is full: BLOCK, DROP_MIDDLE or FAIL."""
    cpus: float = 0.0
    memory_bytes: int = 0
    processes: int = 0
    cleanup: str = "always"
    """Of its working directory, if that is its own: always, on_success, on_failure, never."""
    disk_bytes: int = 0
    """Of the directory of its own, and in a container of what is written beside it."""
    container: Message = {}  # noqa: RUF012
    """A `container.order.Order`, when the steps run in one. The limits are in it too, then, not here."""
    always: list[int] = []  # noqa: RUF012
    """Steps that run also when one before them failed, or the attempt is being ended."""

    def after(self, step: int, *, failed: bool) -> int:
        """The step that runs after this one; -1: none. ``failed``: it, or one before it."""
        return next((later for later in range(step + 1, len(self.steps)) if not failed or later in self.always), -1)


class Known(NamedTuple):
    """One attempt in the reply to hello."""

    attempt_id: str
    fence: int
    state: str
    size: int
    """Of the journal in bytes."""
    started_us: int
    pid: int
    outcome: Message | None = None
    seal: Message | None = None
    base: int = 0
    """Where the journal begins: the start of a record, what is below was acknowledged and may be gone."""
    base_sequence: int = 0
    """Of the record that starts there."""
    input_received: int = -1
    """The place behind the input that it has; -1 when it takes none."""
    input_written: int = 0
    """The place behind what the processes were given."""
    outputs: list[str] = []  # noqa: RUF012
    """As the plan had them."""
    cleanup: str = "always"

    @property
    def keeps_directory(self) -> bool:
        """Its working directory is to be kept, as it ended."""
        outcome = self.outcome or {}
        succeeded = outcome.get("kind") == "EXITED" and outcome.get("exit_code") == 0
        return self.cleanup == "never" or self.cleanup == ("on_failure" if succeeded else "on_success")


class WireError(Exception):
    """The other side sent something that is not a frame."""


def pack(message: Message) -> bytes:
    """Encodes one frame."""
    body = encode(message).encode()
    return _LENGTH.pack(len(body)) + body


def unpack(buffer: bytearray) -> list[Message]:
    """Takes every whole frame out of the buffer.

    Raises:
        WireError: A frame is too long or is not a JSON object.
    """
    messages = []
    start, end = 0, len(buffer)
    while start + 4 <= end:
        (size,) = _LENGTH.unpack_from(buffer, start)
        if size > MAX_FRAME_BYTES:
            raise WireError(f"a frame of {size} bytes")
        if start + 4 + size > end:
            break
        try:
            message = _decode(buffer[start + 4 : start + 4 + size].decode())
        except ValueError as error:
            raise WireError(str(error)) from None
        if not isinstance(message, dict):
            raise WireError("a frame that is not an object")
        messages.append(message)
        start += 4 + size
    del buffer[:start]
    return messages
