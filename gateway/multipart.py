"""``multipart/form-data``, parsed as it arrives: nothing is held but what a push of bytes brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.errors import Failure, Reason, refusal

_MAX_PARTS = 1000
MAX_FIELD_BYTES = 64 * 1024
"""Of a part that is a field of the request rather than the content."""


@dataclass(slots=True)
class Part:
    """The head of a part."""

    name: str
    filename: str | None
    content_type: str


Event = Part | bytes | None
"""A part begins, a piece of it, its end."""


class MultipartReader:
    """Turns pushed bytes into events. Raises ``Failure`` (400) for what is no form."""

    def __init__(self, content_type: str) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        self._events: list[Event] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._name = b""
        self._value = b""
        self._parts = 0
        self._complete = False
        try:
            if not boundary:
                raise FormParserError("no boundary")
            self._parser = MultipartParser(boundary, self._callbacks(), max_header_count=16, max_header_size=8192)
        except FormParserError:
            raise refusal(Reason.BODY_MALFORMED, "the Content-Type has no usable boundary") from None

    def push(self, data: bytes, *, last: bool) -> list[Event]:
        """The events that some more bytes make; ``last``: there are no more."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise _malformed() from None
        if last and not self._complete:
            raise _malformed()
        events, self._events = self._events, []
        return events

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_name,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_head,
            "on_part_data": self._on_data,
            "on_part_end": lambda: self._events.append(None),
            "on_end": self._on_end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise refusal(Reason.BODY_MALFORMED, f"the form has more than {_MAX_PARTS} parts")
        self._headers = []

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers.append((self._name.lower(), self._value))
        self._name = self._value = b""

    def _on_head(self) -> None:
        headers = dict(self._headers)
        _, options = parse_options_header(headers.get(b"content-disposition", b"").decode("latin-1"))
        if b"name" not in options:
            raise refusal(Reason.BODY_MALFORMED, "a part of the form has no name")
        filename = options.get(b"filename")
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        self._events.append(Part(_text(options[b"name"]), None if filename is None else _text(filename), content_type))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(bytes(data[start:end]))

    def _on_end(self) -> None:
        self._complete = True


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise refusal(Reason.BODY_MALFORMED, "a name in the form is not UTF-8") from None


def _malformed() -> Failure:
    return refusal(Reason.BODY_MALFORMED, "the body is not multipart/form-data, or is cut")
