"""Bytes of a body as they arrive → the request messages of a client stream, as pure objects, one per framing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from gateway.binding import Binder
from gateway.body import too_large
from gateway.errors import Reason, refusal
from gateway.multipart import MAX_FIELD_BYTES, MultipartReader, Part
from gateway.request import HttpRequest

PIECE_BYTES = 64 * 1024
Emit = Callable[[bytes, str], Any]
"""(piece of content, its type) → a message, over what is known of the request by then."""
_FORM = "multipart/form-data"


class Pieces(Protocol):
    """Raises ``Failure`` (400, 413) where the body is at fault."""

    def push(self, data: bytes, *, last: bool) -> Iterator[Any]:
        """The messages that some more bytes complete; ``last``: there are no more."""
        ...


def is_form(request: HttpRequest) -> bool:
    """Whether a request is declared to be a form with files."""
    return (request.header("content-type") or "").partition(";")[0].strip().lower() == _FORM


class Lines:
    """NDJSON: a message per line. Nothing is held but the line that is not complete yet."""

    def __init__(self, binder: Binder, head: Any, request: HttpRequest, limit: int) -> None:
        self._binder, self._head, self._request = binder, head, request
        self._limit = limit  # of a line
        self._pending = b""

    def push(self, data: bytes, *, last: bool) -> Iterator[Any]:
        *lines, rest = (self._pending + data).split(b"\n") if b"\n" in data else [self._pending + data]
        if max(map(len, [*lines, rest])) > self._limit:
            raise too_large(self._limit)
        self._pending = rest
        if last:
            lines.append(rest)
        for line in lines:
            if line.strip():
                yield self._binder.bind_part(self._head, self._request, line)


class Raw:
    """A raw body: a message per piece, one at least, so that an empty body has its path variables too."""

    def __init__(self, request: HttpRequest, limit: int, emit: Emit) -> None:
        self._emit = emit
        self._content_type = request.header("content-type") or ""
        self._limit = limit  # of the whole body
        self._size = 0
        self._begun = False

    def push(self, data: bytes, *, last: bool) -> Iterator[Any]:
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit)
        for piece in cut(data):
            self._begun = True
            yield self._emit(piece, self._content_type)
        if last and not self._begun:
            yield self._emit(b"", self._content_type)


class Form:
    """multipart/form-data: the content in pieces; the fields beside it in the messages that follow them."""

    def __init__(self, binder: Binder, head: Any, request: HttpRequest, limit: int, *, part: str, emit: Emit) -> None:
        self._binder, self._head, self._emit = binder, head, emit
        self._reader = MultipartReader(request.header("content-type") or "")
        self._wanted = part or "file"
        self._limit = limit  # of the whole body
        self._size = 0
        self._part: Part | None = None
        self._field: bytearray | None = None  # of the part that is a field of the request
        self._found = False
        self._empty = False  # nothing of the content was passed on yet
        self._told = True  # all fields were passed on

    def push(self, data: bytes, *, last: bool) -> Iterator[Any]:
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit)
        for event in self._reader.push(data, last=last):
            if isinstance(event, Part):
                self._begin(event)
            elif self._field is not None:
                self._continue_field(event)
            elif event is not None:
                for piece in cut(event):
                    yield self._message(piece)
            elif self._empty:
                yield self._message(b"")
        if last and not self._found:
            raise refusal(Reason.PART_MISSING, f'the form has no part "{self._wanted}"', part=self._wanted)
        if last and not self._told:
            yield self._message(b"")

    def _message(self, piece: bytes) -> Any:
        self._empty, self._told = False, True
        assert self._part is not None
        return self._emit(piece, self._part.content_type)

    def _begin(self, part: Part) -> None:
        if part.name != self._wanted:
            self._name, self._field = part.name, bytearray()
            return
        if self._found:
            raise refusal(Reason.FIELD_CONFLICT, f'the form has two parts "{part.name}"', field_path=part.name)
        self._field, self._part, self._found, self._empty = None, part, True, True
        if part.filename is not None:
            self._binder.bind_filename(self._head, part.filename)

    def _continue_field(self, event: bytes | None) -> None:
        assert self._field is not None
        if event is not None:
            self._field += event
            if len(self._field) > MAX_FIELD_BYTES:
                raise too_large(MAX_FIELD_BYTES)
            return
        try:
            text = self._field.decode()
        except UnicodeDecodeError:
            raise refusal(
                Reason.FIELD_INVALID, f"{self._name[:64]}: is not UTF-8", field_path=self._name[:64]
            ) from None
        self._binder.bind_form_field(self._head, self._name, text)
        self._told = not self._found


def cut(data: bytes) -> Iterator[bytes]:
    """Pieces that fit a message."""
    if len(data) <= PIECE_BYTES:
        if data:
            yield data
        return
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
