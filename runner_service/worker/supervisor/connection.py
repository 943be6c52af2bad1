"""The socket: accepts workers, of which the newest that says hello is the one."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable

from runner_service.worker.supervisor import wire
from runner_service.worker.supervisor.loop import Loop
from runner_service.worker.supervisor.wire import Message

MAX_BACKLOG_BYTES = 16 << 20
"""Not yet taken by a worker: beyond it the worker is gone for all practical purposes, and is cut off."""
COALESCE_BYTES = 1 << 16
"""With more than this under way, growth of output is told later, and then once."""

STARTS_AT_ONCE = 4
"""Each holds this process up until the job's program is loaded; ends that are not told meanwhile leave slots empty."""

Answer = Callable[[Message], Message]


class Listener:
    """The listening socket and its connections."""

    def __init__(self, loop: Loop, answer: Answer, on_worker_change: Callable[[], None]) -> None:
        self.loop = loop
        self.answer = answer
        self._on_worker_change = on_worker_change
        self._worker: Connection | None = None
        self._socket: socket.socket | None = None
        self._path = ""

    @property
    def connected(self) -> bool:
        return self._worker is not None

    def is_worker(self, connection: Connection) -> bool:
        """Its hello was the last."""
        return connection is self._worker

    @property
    def ready_for_more(self) -> bool:
        """Whether news that can be told later should be told now. Without a worker they need not be told at all."""
        return self._worker is None or self._worker.backlog < COALESCE_BYTES

    def listen(self, path: str) -> None:
        """Binds and listens. The caller holds the lock of the directory, so a socket that is there is dead."""
        try:
            os.unlink(path)  # noqa: PTH108
        except FileNotFoundError:
            pass
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.bind(path)
        os.chmod(path, 0o600)  # noqa: PTH101
        self._socket.listen(16)
        self.loop.add(self._socket.fileno(), select.EPOLLIN, self._on_connect)

    def send(self, event: Message) -> None:
        """To the worker, if there is one, at the end of the turn."""
        if self._worker is not None:
            self._worker.send(event)

    def flush(self) -> None:
        if self._worker is not None:
            self._worker.flush()

    def close(self) -> None:
        if self._socket is not None:
            self.loop.remove(self._socket.fileno())
            os.unlink(self._path)  # noqa: PTH108
            self._socket.close()
            self._socket = None
        if self._worker is not None:
            self._worker.flush()
            self._worker.close()

    def greeted(self, connection: Connection) -> None:
        """A connection said hello: it is the worker's from now on."""
        before, self._worker = self._worker, connection
        if before is not None and before is not connection:
            before.send({"event": "replaced"})
            before.flush()
            before.close()
        self._on_worker_change()

    def gone(self, connection: Connection) -> None:
        if connection is self._worker:
            self._worker = None
            self._on_worker_change()

    def _on_connect(self, _mask: int) -> None:
        assert self._socket is not None
        try:
            accepted, _ = self._socket.accept()
        except OSError:
            return
        accepted.setblocking(False)
        _, user, _ = struct.unpack("3i", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user not in (os.geteuid(), 0):
            accepted.close()
            return
        Connection(self, accepted)


class Connection:
    """One connection. Closed by either side, or for talking nonsense."""

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self._listener = listener
        self._socket = sock
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._requests: deque[Message] = deque()
        self._working = False
        """`_work` goes on with the next turn."""
        self._waiting = False
        self._open = True
        listener.loop.add(sock.fileno(), select.EPOLLIN, self._on_ready)

    @property
    def backlog(self) -> int:
        return len(self._outgoing)

    def send(self, message: Message) -> None:
        self._outgoing += wire.pack(message)

    def flush(self) -> None:
        if not self._outgoing or self._waiting or not self._open:
            return
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._outgoing[:sent]
        if len(self._outgoing) > MAX_BACKLOG_BYTES:
            self.close()
        elif self._outgoing:
            self._waiting = True
            self._listener.loop.modify(self._socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._requests.clear()
            self._listener.loop.remove(self._socket.fileno())
            self._socket.close()
            self._listener.gone(self)

    def _on_ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._waiting = False
            self._listener.loop.modify(self._socket.fileno(), select.EPOLLIN)
            self.flush()
        if mask & ~select.EPOLLOUT and self._open:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._incoming += data
        try:
            requests = wire.unpack(self._incoming)
        except wire.WireError:
            self.close()
            return
        self._requests += requests
        if not self._working:
            self._work()

    def _work(self) -> None:
        """Answers what was asked for, in order, with a look at everything else after some starts."""
        self._working = False
        starts = STARTS_AT_ONCE
        while self._requests and starts:
            request = self._requests.popleft()
            operation = request.get("op")
            if operation != "hello" and not self._listener.is_worker(self):
                self.close()
                return
            starts -= operation == "start"
            reply = self._listener.answer(request)
            reply["re"] = request.get("id")
            self.send(reply)
            if operation == "hello":
                self._listener.greeted(self)
        if self._requests:
            self._working = True
            self._listener.loop.call_later(0, self._work)
        self.flush()
