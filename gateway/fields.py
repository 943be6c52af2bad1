"""Field paths: ``job.labels[zone]`` in a query, ``{job.name}`` in a path, from text into a message."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.codec import Decoder, NotJson, Refused, schema
from gateway.codec.scalars_in import Decode, text_decoder
from gateway.codec.text import parse
from gateway.codec.times import in_seconds

_SUBSCRIPT = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]", re.DOTALL)

# Messages that have a text form of their own, so that one parameter or path variable can fill them.
_TEXT_FORMS = frozenset(
    {"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask", *schema.WRAPPERS}
)
_JSON_FORMS = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})


class UnknownField(LookupError):
    """A path that leads to no field."""


@dataclass(frozen=True, slots=True)
class TextField:
    """A field that texts can fill: how to get there, and how to set it."""

    fields: tuple[FieldDescriptor, ...]
    """From the request message to the field itself."""
    key: str | None
    """The key of a map's entry."""
    convert: Decode | None
    """Text → scalar; None when ``into`` merges the text into a message instead."""
    into: Callable[[Any, str], None] | None

    plain: bool = False
    """Any text is its value, and setting it decides nothing else."""

    @property
    def field(self) -> FieldDescriptor:
        """The last field of the path."""
        return self.fields[-1]

    @property
    def repeated(self) -> bool:
        """Takes several texts: a list (an entry of a map is a single value)."""
        return self.field.is_repeated and self.key is None

    @property
    def slots(self) -> list[tuple[str, str]]:
        """(oneof, member) pairs that setting this field decides, each with the path that leads there."""
        found = []
        prefix = ""
        for field in self.fields:
            oneof = schema.oneof_name(field)
            if oneof is not None:
                found.append((f"{prefix}{oneof}", field.name))
            prefix += f"{field.name}."
        return found

    def owner(self, message: Any) -> Any:
        """The message that holds the field; it and those on the way become set."""
        for field in self.fields[:-1]:
            message = getattr(message, field.name)
            message.SetInParent()
        return message

    def put(self, message: Any, texts: list[str]) -> None:
        """Sets the field of a request; ``Refused`` when a text does not fit."""
        owner, name = self.owner(message), self.field.name
        if self.key is not None:
            self._put_entry(owner, name, texts[0])
        elif self.repeated:
            values = getattr(owner, name)
            for text in texts:
                if self.convert is not None:
                    values.append(self.convert(text))
                else:
                    cast(Callable[[Any, str], None], self.into)(values.add(), text)
        elif self.convert is not None:
            setattr(owner, name, self.convert(texts[0]))
        else:
            inner = getattr(owner, name)
            inner.SetInParent()
            cast(Callable[[Any, str], None], self.into)(inner, texts[0])

    def _put_entry(self, owner: Any, name: str, text: str) -> None:
        entries = getattr(owner, name)
        key = text_decoder(schema.message_type(self.field).fields_by_name["key"])(self.key)
        if self.convert is not None:
            entries[key] = self.convert(text)
        else:
            cast(Callable[[Any, str], None], self.into)(entries[key], text)


def find_field(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    """A field by the name of the proto file or of JSON."""
    field = descriptor.fields_by_name.get(name)
    if field is None:
        field = next((each for each in descriptor.fields if each.json_name == name), None)
    return field


def resolve_path(descriptor: Descriptor, path: tuple[str, ...]) -> tuple[FieldDescriptor, ...]:
    """The fields of a path that an annotation names; ``UnknownField`` when it leads nowhere."""
    fields: list[FieldDescriptor] = []
    for index, name in enumerate(path):
        field = descriptor.fields_by_name.get(name)
        if field is None:
            raise UnknownField(f"{descriptor.full_name} has no field {name!r}")
        fields.append(field)
        if index + 1 < len(path):
            if not schema.is_message(field) or field.is_repeated:
                raise UnknownField(f"{descriptor.full_name}.{name} is no message to go into")
            descriptor = schema.message_type(field)
    return tuple(fields)


def text_field(descriptor: Descriptor, name: str, decoder: Decoder) -> TextField:
    """The field that a parameter names: dotted, ``labels[k]`` and ``labels.k`` for maps.

    Raises ``UnknownField`` when there is none, ``Refused`` when no text can fill it.
    """
    key: str | None = None
    subscript = _SUBSCRIPT.fullmatch(name)
    if subscript:
        name, key = subscript[1], subscript[2]
    fields: list[FieldDescriptor] = []
    steps = name.split(".")
    for index, step in enumerate(steps):
        field = find_field(descriptor, step)
        if field is None:
            raise UnknownField(name)
        fields.append(field)
        rest = steps[index + 1 :]
        if schema.map_value(field) is not None:
            if rest and key is None:
                return as_text_field(tuple(fields), decoder, key=".".join(rest))
            if rest:
                raise UnknownField(name)
            break
        if rest:
            if not schema.is_message(field):
                raise UnknownField(name)
            if field.is_repeated:
                raise Refused("a list of messages can't be given here", bare=True)
            descriptor = schema.message_type(field)
    if key is not None and schema.map_value(fields[-1]) is None:
        raise UnknownField(name)
    return as_text_field(tuple(fields), decoder, key=key)


def as_text_field(fields: tuple[FieldDescriptor, ...], decoder: Decoder, *, key: str | None = None) -> TextField:
    """How texts fill a field; ``Refused`` when they can't."""
    field = fields[-1]
    value = schema.map_value(field)
    if value is not None and key is None:
        raise Refused("a map takes its key in the name, like labels[zone]", bare=True)
    target = value if value is not None else field
    if schema.field_rules(field).raw_json:
        is_text = target.type == schema.F.TYPE_STRING
        return TextField(fields, key, lambda text: _json_text(text, is_text=is_text), None)
    if not schema.is_message(target):
        plain = target.type == schema.F.TYPE_STRING and len(fields) == 1 and schema.oneof_name(field) is None
        return TextField(fields, key, text_decoder(target), None, plain and not field.is_repeated)
    name = schema.message_type(target).full_name
    if name in schema.WRAPPERS:
        convert = text_decoder(schema.message_type(target).fields_by_name["value"])

        def wrap(message: Any, text: str) -> None:
            message.value = convert(text)

        return TextField(fields, key, None, wrap)
    into = decoder.into(schema.message_type(target))
    if name == "google.protobuf.Duration" and schema.field_rules(field).duration_units:
        return TextField(fields, key, None, lambda message, text: into(message, in_seconds(text)))
    if name in _TEXT_FORMS:
        return TextField(fields, key, None, into)
    if name in _JSON_FORMS:
        return TextField(fields, key, None, lambda message, text: into(message, _parsed(text)))
    raise Refused("is a message: name one of its fields", bare=True)


def _parsed(text: str) -> Any:
    try:
        return parse(text.encode())
    except NotJson:
        raise Refused("JSON", text) from None


def _json_text(text: str, *, is_text: bool) -> Any:
    _parsed(text)  # validated, and kept as it was written
    return text if is_text else text.encode()
