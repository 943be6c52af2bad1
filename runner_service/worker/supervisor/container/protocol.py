"""Between a supervisor and the pilot of one attempt: frames of `supervisor.wire` over a socket, the pilot's file 3.

::

    supervisor → pilot
    plan      order attempt_id fence owner directory workspace steps environment stdin terminal
              made holder remove_only   first, and once
    step      index                     execute it
    signal    number                    for the processes of the step, by the job's input
    term      hangup                    end the step: TERM, before it HUP when it has a terminal
    remove    {}                        remove the container, whatever runs in it, and exit

    pilot → supervisor
    made      holder layer              the container's first process exists, and nothing of the job; holder: that
                                        process; layer: where what it writes is kept; 0 and empty if not to be seen
    started   pid                       a process of a step exists
    exited    status oom cpu_us peak_memory      the step's process has ended; status is negative for a signal
    failed    kind detail message       something that is an outcome stands in the way of the step
    gone      survivors cpu_us peak_memory       the container is no more; the pilot exits

Of what cannot be measured a number is left out.

The pilot's standard input and outputs are the attempt's. When the supervisor is gone it removes the container too.
"""

from __future__ import annotations

import socket
from typing import Any

from runner_service.worker.supervisor import wire
from runner_service.worker.supervisor.wire import Message

FD = 3


class SupervisorGone(Exception):
    """The supervisor has ended."""


class Channel:
    """The pilot's end."""

    __slots__ = ("_buffer", "_messages", "_socket")

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._buffer = bytearray()
        self._messages: list[Message] = []

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, event: str, **facts: Any) -> None:
        """Raises `SupervisorGone`."""
        try:
            self._socket.sendall(wire.pack({"event": event, **facts}))
        except OSError:
            raise SupervisorGone from None

    def receive(self) -> Message:
        """The next message; waits for it. Raises `SupervisorGone`."""
        while not self._messages:
            self._read(0)
        return self._messages.pop(0)

    def receive_now(self) -> list[Message]:
        """What is there. Raises `SupervisorGone`."""
        try:
            self._read(socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        messages, self._messages = self._messages, []
        return messages

    def _read(self, flags: int) -> None:
        try:
            data = self._socket.recv(1 << 16, flags)
        except BlockingIOError:
            raise
        except OSError:
            data = b""
        if not data:
            raise SupervisorGone
        self._buffer += data
        self._messages += wire.unpack(self._buffer)


def pair() -> tuple[socket.socket, int]:
    """The supervisor's end, which does not block, and a file for the pilot's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    return ours, theirs.detach()
