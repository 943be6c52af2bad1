"""Speaks to a Docker engine over its unix socket: as much HTTP as that needs, in one file, because `http.client` would
cost every pilot, and the guard, 5 MB and 30 ms.

Requests are HTTP/1.0, so that no answer comes in chunks and every connection ends with its answer; a hijacked one
(`Engine.hijack`) is HTTP/1.1 and then belongs to the streams. Paths have no version: the engine's own is spoken, and
nothing is used that came after 1.40 (Docker 19.03).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

DEFAULT_SOCKET = "/var/run/docker.sock"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""An engine under load takes seconds to start a container; one that takes longer than this hangs."""
MOST_ANSWER_BYTES = 16 << 20
_HEAD_BYTES = 64 * 1024


class EngineAway(Exception):
    """The engine cannot be reached, or went away in the middle of an answer."""


class EngineRefused(Exception):
    """The engine answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Engine:
    """One engine. Every request has a connection of its own."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def call(self, method: str, path: str, body: object = None, *, timeout: float = ANSWER_SECONDS) -> Any:
        """The JSON of an answer; None when it has none.

        Raises:
            EngineAway, EngineRefused.
        """
        with self._ask(method, path, body, "1.0", {}, timeout) as connection:
            status, rest = _head(connection)
            data = rest + _rest(connection, MOST_ANSWER_BYTES - len(rest))
        if status >= 400:
            raise EngineRefused(status, _message(data))
        try:
            return json.loads(data) if data.strip() else None
        except ValueError:
            raise EngineAway("its answer makes no sense") from None

    def lines(
        self, path: str, headers: Mapping[str, str], *, look: Callable[[int], None], timeout: float
    ) -> Iterator[Any]:
        """A POST whose answer is a stream of JSON lines. ``look`` is called with the file of the connection before each
        read, and may wait for it; ``timeout``: of one silence.

        Raises:
            EngineAway, EngineRefused.
        """
        with self._ask("POST", path, None, "1.0", headers, timeout) as connection:
            look(connection.fileno())
            status, buffer = _head(connection)
            if status >= 400:
                raise EngineRefused(status, _message(buffer + _rest(connection, MOST_ANSWER_BYTES)))
            while True:
                line, newline, rest = buffer.partition(b"\n")
                if not newline:
                    look(connection.fileno())
                    data = _receive(connection)
                    if not data:
                        break
                    buffer += data
                    continue
                buffer = rest
                if line.strip():
                    yield json.loads(line)

    def hijack(self, path: str, body: object) -> tuple[socket.socket, bytes]:
        """A POST whose connection becomes the streams of a process; with what came behind the head already.

        Raises:
            EngineAway, EngineRefused.
        """
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
        connection = self._ask("POST", path, body, "1.1", upgrade, ANSWER_SECONDS)
        try:
            status, rest = _head(connection)
            if status >= 400:
                connection.settimeout(1.0)  # It may leave the connection open behind the message.
                raise EngineRefused(status, _message(rest + _rest(connection, _HEAD_BYTES)))
        except BaseException:
            connection.close()
            raise
        connection.settimeout(None)
        return connection, rest

    def _ask(
        self, method: str, path: str, body: object, version: str, headers: Mapping[str, str], timeout: float
    ) -> socket.socket:
        payload = b"" if body is None else json.dumps(body).encode("utf-8", "surrogateescape")
        lines = [f"{method} {path} HTTP/{version}", "Host: docker", f"Content-Length: {len(payload)}"]
        lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(self.path)
            connection.settimeout(timeout)
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + payload)
        except OSError as error:
            connection.close()
            raise EngineAway(f"{self.path}: {error.strerror or error}") from None
        return connection


def quoted(text: str) -> str:
    """For a path or a query. `urllib.parse` would cost 8 ms."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-._~/:@") else _escaped(letter)
        for letter in text
    )


def _escaped(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))


def _head(connection: socket.socket) -> tuple[int, bytes]:
    """Status, and what came behind the head."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = _receive(connection)
        if not data or len(head) > _HEAD_BYTES:
            raise EngineAway("it closed the connection")
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    try:
        return int(head.split(b" ", 2)[1]), rest
    except (IndexError, ValueError):
        raise EngineAway("its answer is no HTTP") from None


def _rest(connection: socket.socket, most: int) -> bytes:
    data = bytearray()
    try:
        while len(data) < most and (piece := _receive(connection)):
            data += piece
    except EngineAway:
        if not data:
            raise
    return bytes(data)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError as error:
        raise EngineAway(str(error) or type(error).__name__) from None


def _message(data: bytes) -> str:
    """What an error says, without the engine's own wrapping."""
    try:
        said = json.loads(data[data.index(b"{") : data.rindex(b"}") + 1])["message"]
    except (ValueError, KeyError, TypeError):
        said = data.decode("utf-8", "replace")
    return str(said).strip()
