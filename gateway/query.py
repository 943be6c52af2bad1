"""Query strings → fields of a request message."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor

from gateway.codec import Decoder, Refused, schema
from gateway.errors import Reason, from_refused, refusal
from gateway.escapes import EscapeError, decode_query
from gateway.fields import TextField, UnknownField, text_field
from gateway.request import Parameter

_MAX_PARAMETERS = 1000
_CACHED_NAMES = 256


def parse_query(raw: str) -> list[Parameter]:
    """The parameters of a raw query, decoded once; ``Failure`` (400) for escapes and text that are none."""
    parameters = []
    pieces = raw.split("&")
    if len(pieces) > _MAX_PARAMETERS:
        raise refusal(Reason.QUERY_INVALID, f"the query has more than {_MAX_PARAMETERS} parameters")
    for piece in pieces:
        if not piece:
            continue
        name, equals, value = piece.partition("=")
        try:
            decoded = decode_query(name)
        except EscapeError as error:
            raise refusal(Reason.QUERY_INVALID, f"the name of a query parameter has {error}") from None
        try:
            parameters.append(Parameter(decoded, decode_query(value) if equals else None))
        except EscapeError as error:
            raise refusal(Reason.QUERY_INVALID, f"query parameter {decoded} has {error}", field_path=decoded) from None
    return parameters


class QueryBinder:
    """Sets the fields of one request type from query parameters."""

    def __init__(
        self,
        descriptor: Descriptor,
        decoder: Decoder,
        *,
        body: tuple[str, ...] | None,
        path_fields: frozenset[tuple[str, ...]],
        supplied: frozenset[str],
        ignore_unknown: bool,
        also_known: frozenset[str] = frozenset(),
    ) -> None:
        self._descriptor = descriptor
        self._decoder = decoder
        self._body = body  # the field path that the body fills: () for all of the request, None for none
        self._path_fields = path_fields
        self._supplied = supplied  # filled from headers and the like, never from the query
        self._ignore_unknown = ignore_unknown
        self._also_known = also_known  # parameters that choose the RPC and need not be fields
        self._fields: dict[str, TextField] = {}

    def bind(self, message: Any, raw: str) -> None:
        """Merges a raw query into a request; raises ``Failure`` (400) naming the parameter."""
        given: dict[tuple[tuple[str, ...], str | None], tuple[str, TextField, list[str]]] = {}
        for parameter in parse_query(raw):
            target = self._target(parameter.name)
            if target is None:
                continue
            path = tuple(field.name for field in target.fields)
            given.setdefault((path, target.key), (parameter.name, target, []))[2].append(_text(parameter, target))
        for (path, _), (name, target, texts) in given.items():
            self._set(message, name, path, target, texts)

    def bind_one(self, message: Any, name: str, text: str) -> None:
        """Sets one field, as a query of one parameter does."""
        target = self._target(name)
        if target is not None:
            self._set(message, name, tuple(field.name for field in target.fields), target, [text])

    def _target(self, name: str) -> TextField | None:
        """The field of a parameter; None for one that is to be ignored."""
        known = self._fields.get(name)
        if known is not None:
            return known
        try:
            if self._body == ():
                raise UnknownField(name)
            target = text_field(self._descriptor, name, self._decoder)
            if target.fields[0].name in self._supplied:
                raise UnknownField(name)
        except UnknownField:
            if self._ignore_unknown or name in self._also_known:
                return None
            raise refusal(
                Reason.PARAMETER_UNKNOWN, f"unknown query parameter: {name[:64]}", field_path=name[:64]
            ) from None
        except Refused as refused:
            raise from_refused(refused, root=name) from None
        path = tuple(field.name for field in target.fields)
        if self._body is not None and path[: len(self._body)] == self._body:
            if self._ignore_unknown:
                return None
            raise refusal(Reason.FIELD_CONFLICT, f"{name}: is given by the body, not by the query", field_path=name)
        if target.key is None and len(self._fields) < _CACHED_NAMES:
            self._fields[name] = target
        return target

    def _set(self, message: Any, name: str, path: tuple[str, ...], target: TextField, texts: list[str]) -> None:
        if target.repeated and schema.field_rules(target.field).csv:
            texts = [item.strip() for text in texts for item in text.split(",") if item.strip()]
        elif not target.repeated and len(texts) > 1:
            raise refusal(Reason.FIELD_CONFLICT, f"{name}: given {len(texts)} times, takes one value", field_path=name)
        try:
            if path in self._path_fields:
                self._compare(message, name, target, texts)
                return
            check_oneofs(message, target)
            target.put(message, texts)
        except Refused as refused:
            raise from_refused(refused, root=name) from None

    def _compare(self, message: Any, name: str, target: TextField, texts: list[str]) -> None:
        """A field that the path fills too: the path wins, and strictly both must agree."""
        if self._ignore_unknown:
            return
        other = type(message)()
        target.put(other, texts)
        attribute = target.field.name
        if getattr(target.owner(other), attribute) != getattr(target.owner(message), attribute):
            raise refusal(Reason.FIELD_CONFLICT, f"{name}: the path and the query name it differently", field_path=name)


def check_oneofs(message: Any, target: TextField) -> None:
    """Refuses to set a second member of a oneof."""
    for field in target.fields:
        oneof = schema.oneof_name(field)
        if oneof is not None:
            chosen = message.WhichOneof(oneof)
            if chosen not in (None, field.name):
                raise Refused(f'another member of the oneof "{oneof}" is set too: {chosen}', bare=True)
        if schema.is_message(field) and not field.is_repeated:
            message = getattr(message, field.name)


def _text(parameter: Parameter, target: TextField) -> str:
    if parameter.value is not None:
        return parameter.value
    # A bare `?flag` says yes; for anything but a bool it says nothing.
    field = target.field
    wrapped = schema.is_message(field) and schema.message_type(field).full_name == "google.protobuf.BoolValue"
    return "true" if wrapped or field.type == schema.F.TYPE_BOOL else ""
