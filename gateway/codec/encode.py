"""Messages → JSON, compiled once per message type into closures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import orjson
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from gateway.codec import schema
from gateway.codec.empties import Put, empty_rule, put_field
from gateway.codec.scalars_out import Encode, key_encoder, scalar_encoder
from gateway.codec.style import Style
from gateway.codec.well_known_out import timestamp_encoder, well_known_encoder


class Encoder:
    """Prints messages in one style. Closures are made on first use and kept."""

    def __init__(self, style: Style, pool: DescriptorPool | None = None) -> None:
        self.style = style
        self.pool = pool if pool is not None else descriptor_pool.Default()
        self._messages: dict[tuple[str, frozenset[str]], Encode] = {}

    def dumps(self, message: Message, *, omit: frozenset[str] = frozenset()) -> bytes:
        """The JSON text of a message."""
        return orjson.dumps(self.message(cast(Descriptor, message.DESCRIPTOR), omit)(message))

    def message(self, descriptor: Descriptor, omit: frozenset[str] = frozenset()) -> Encode:
        """The closure for a message type; ``omit`` names top-level fields that are not printed."""
        key = (descriptor.full_name, omit)
        known = self._messages.get(key)
        if known is not None:
            return known
        special = well_known_encoder(descriptor, self)
        if special is not None:
            self._messages[key] = special
            return special
        only = schema.only_field(descriptor)
        puts: list[Put] = []
        encode = _transparent(puts, self.name_of(only)) if only else _members(puts)
        # Known before its fields are compiled: a message may hold itself.
        self._messages[key] = encode
        for field in descriptor.fields:
            if field.name not in omit and not schema.field_rules(field).hidden:
                puts.append(put_field(field, self, empty_rule(field, descriptor, self.style)))
        return encode

    def name_of(self, field: FieldDescriptor) -> str:
        """How a member is spelled in replies."""
        return field.name if self.style.proto_names else field.json_name

    def value(self, field: FieldDescriptor) -> Encode | None:
        """The closure for a whole field: a list, a map, or a single value (None: printed as it is)."""
        single = schema.map_value(field)
        if single is not None:
            return _map(key_encoder(schema.message_type(field).fields_by_name["key"]), self._element(single, field))
        if field.is_repeated:
            element = self._element(field, field)
            return list if element is None else _list(element)
        return self._element(field, field)

    def _element(self, field: FieldDescriptor, ruled: FieldDescriptor) -> Encode | None:
        """One value; ``ruled`` is the field whose rules hold: the map's, for a map's values."""
        rules = schema.field_rules(ruled)
        if not schema.is_message(field):
            if field is not ruled and (rules.raw_json or rules.text or rules.integer_number):
                return scalar_encoder_of_map(field, rules, self.style)
            return scalar_encoder(field, self.style)
        if schema.message_type(field).full_name == "google.protobuf.Timestamp" and rules.timestamp_digits:
            return timestamp_encoder(rules.timestamp_digits)
        return self.message(schema.message_type(field))


def scalar_encoder_of_map(field: FieldDescriptor, rules: Any, style: Style) -> Encode | None:
    """Values of a map take the rules written on the map: its entry type can't carry any."""
    if rules.raw_json:
        return lambda value: orjson.Fragment(value) if value else None
    if rules.text:
        return lambda value: value.decode("utf-8", "replace")
    return None


def _members(puts: list[Put]) -> Callable[[Any], dict[str, Any]]:
    def encode(message: Any) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for put in puts:
            put(message, members)
        return members

    return encode


def _transparent(puts: list[Put], name: str) -> Encode:
    members = _members(puts)
    return lambda message: members(message).get(name)


def _list(element: Encode) -> Encode:
    return lambda values: [element(value) for value in values]


def _map(key: Encode | None, element: Encode | None) -> Encode:
    # Sorted: a map has no order of its own, and two servers should answer with the same bytes.
    if key is None:
        if element is None:
            return lambda values: dict(sorted(values.items()))
        return lambda values: {name: element(values[name]) for name in sorted(values)}
    if element is None:
        return lambda values: {key(name): values[name] for name in sorted(values)}
    return lambda values: {key(name): element(values[name]) for name in sorted(values)}
