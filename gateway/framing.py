"""Framings of a stream: messages → the bytes of a reply, as pure objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.codec import Encoder, schema
from gateway.codec.scalars_out import Encode
from gateway.fields import resolve_path
from runner.gateway.v1 import options_pb2 as options


class Framing(Protocol):
    """Turns the messages of one stream into bytes, in order. One object per stream."""

    media_type: str
    """Of the reply; for raw streams known once the first message was framed."""
    early: bool
    """The headers may be sent before the first message: they do not depend on it."""
    keep_alive: bytes
    """What shows that the stream is alive; empty where there is no such thing."""

    def message(self, message: Any) -> bytes:
        """One message."""
        ...

    def end(self) -> bytes:
        """What closes a complete stream."""
        ...

    def error(self, body: bytes, *, again: bool = False) -> bytes | None:
        """What tells of an error after the headers; None: only a cut connection can. ``again``: soon come back."""
        ...


class Sse:
    """text/event-stream: an event per message."""

    media_type = "text/event-stream; charset=utf-8"
    early = True
    keep_alive = b": keep-alive\n\n"

    def __init__(
        self, encode: Encode, event: Encode | None, cursor: Encode | None, *, retry_seconds: float | None = None
    ) -> None:
        self._before = b"" if retry_seconds is None else b"retry: %d\n" % (retry_seconds * 1000)
        self._encode = encode
        self._event = event
        self._cursor = cursor

    def message(self, message: Any) -> bytes:
        head, self._before = self._before, b""
        if self._cursor is not None:
            head += b"id: %b\n" % _line(self._cursor(message))
        if self._event is not None:
            event = _line(self._event(message))
            head += b"event: %b\n" % event if event else b""
        return b"%bdata: %b\n\n" % (head, orjson.dumps(self._encode(message)))

    def end(self) -> bytes:
        return b""

    def error(self, body: bytes, *, again: bool = False) -> bytes | None:
        return b"%bevent: error\ndata: %b\n\n" % (b"retry: 1000\n" if again else b"", body)


class NdJson:
    """application/x-ndjson: a JSON value per line; an empty line keeps the connection alive."""

    media_type = "application/x-ndjson"
    early = True
    keep_alive = b"\n"

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def message(self, message: Any) -> bytes:
        return orjson.dumps(self._encode(message), option=orjson.OPT_APPEND_NEWLINE)

    def end(self) -> bytes:
        return b""

    def error(self, body: bytes, *, again: bool = False) -> bytes | None:
        return b'{"error":%b}\n' % body


class Array:
    """application/json: one array. JSON has no place for an error in it, so that one cuts the connection."""

    early = False
    keep_alive = b""

    def __init__(self, encode: Encode, media_type: str) -> None:
        self.media_type = media_type
        self._encode = encode
        self._before = b"["

    def message(self, message: Any) -> bytes:
        before, self._before = self._before, b","
        return before + orjson.dumps(self._encode(message))

    def end(self) -> bytes:
        return b"[]" if self._before == b"[" else b"]"

    def error(self, body: bytes, *, again: bool = False) -> bytes | None:
        return None


class Raw:
    """The bytes of the messages and nothing else; an error cuts the connection."""

    early = False
    keep_alive = b""

    def __init__(self, read: Callable[[Any], bytes] | None) -> None:
        self.media_type = "application/octet-stream"
        self._read = read  # None for google.api.HttpBody
        self._first = True

    def message(self, message: Any) -> bytes:
        if self._read is not None:
            return self._read(message)
        if self._first:
            self._first = False
            self.media_type = message.content_type or self.media_type
        return message.data  # type: ignore[no-any-return]

    def end(self) -> bytes:
        return b""

    def error(self, body: bytes, *, again: bool = False) -> bytes | None:
        return None


_MODES = (options.STREAM_MODE_SSE, options.STREAM_MODE_NDJSON, options.STREAM_MODE_ARRAY)
_BODY_MODES = (options.STREAM_MODE_RAW,)


class Framings:
    """The framings of one RPC, compiled at start-up."""

    def __init__(
        self,
        output: Descriptor,
        encoder: Encoder,
        rules: options.MethodRules,
        json_media_type: str,
        *,
        retry_seconds: float | None = None,
    ) -> None:
        self.is_body = output.full_name == schema.HTTP_BODY
        self.modes: tuple[int, ...] = tuple(rules.stream_modes) or (_BODY_MODES if self.is_body else _MODES)
        """How the stream may be framed in an HTTP reply, best first; WebSockets frame for themselves."""
        self.modes = tuple(mode for mode in self.modes if mode != options.STREAM_MODE_WEBSOCKET)
        raw = None
        if options.STREAM_MODE_RAW in self.modes and not self.is_body:
            raw = _raw_reader(output, rules.raw_field)
        encode = encoder.message(output)
        event = _event(output, encoder, rules.sse_event_field)
        data = _data(output, encoder, rules.sse_data_field) or encode
        cursor = _getter(output, encoder, rules.sse_id_field)
        self._make: dict[int, Callable[[], Framing]] = {
            options.STREAM_MODE_SSE: lambda: Sse(data, event, cursor, retry_seconds=retry_seconds),
            options.STREAM_MODE_NDJSON: lambda: NdJson(encode),
            options.STREAM_MODE_ARRAY: lambda: Array(encode, json_media_type),
            options.STREAM_MODE_RAW: lambda: Raw(raw),
        }

    def open(self, mode: int) -> Framing:
        """A fresh framing for one stream."""
        return self._make[mode]()


def _raw_reader(output: Descriptor, path: str) -> Callable[[Any], bytes]:
    """Reads the bytes field at ``path``; a list on the way, or of bytes, is read as one run."""
    name, _, rest = path.partition(".")
    field = output.fields_by_name.get(name)
    if field is not None and rest and field.message_type is not None:
        below = _raw_reader(field.message_type, rest)
        if field.is_repeated:
            return lambda message: b"".join(map(below, getattr(message, name)))
        return lambda message: below(getattr(message, name))
    if field is None or rest or field.type != schema.F.TYPE_BYTES:
        raise ValueError(f"raw_field of a stream of {output.full_name} must name a bytes field, not {path!r}")
    if field.is_repeated:
        return lambda message: b"".join(getattr(message, name))
    return lambda message: getattr(message, name)


def _event(output: Descriptor, encoder: Encoder, path: str) -> Encode | None:
    """Names events: by a field's value, or by which member of a oneof is set."""
    if path in output.oneofs_by_name:
        names = {field.name: encoder.name_of(field) for field in output.oneofs_by_name[path].fields}
        return lambda message: names.get(message.WhichOneof(path), "")
    return _getter(output, encoder, path)


def _data(output: Descriptor, encoder: Encoder, path: str) -> Encode | None:
    """Prints the data of events: a field, or the member of a oneof that is set."""
    if path not in output.oneofs_by_name:
        return _getter(output, encoder, path)
    encoders = {field.name: encoder.value(field) for field in output.oneofs_by_name[path].fields}

    def encode(message: Any) -> Any:
        name = message.WhichOneof(path)
        return None if name is None else encoders[name](getattr(message, name))

    return encode


def _getter(output: Descriptor, encoder: Encoder, path: str) -> Encode | None:
    """Reads one field of a message, as it prints."""
    if not path:
        return None
    fields: tuple[FieldDescriptor, ...] = resolve_path(output, tuple(path.split(".")))
    encode = encoder.value(fields[-1])
    names = [field.name for field in fields]

    def get(message: Any) -> Any:
        for name in names:
            message = getattr(message, name)
        return encode(message)

    return get


def _line(value: Any) -> bytes:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    # A line break would end the field, and let a value forge the rest of the event.
    return text.replace("\r", " ").replace("\n", " ").encode()
