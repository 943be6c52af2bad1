"""JSON → messages, compiled once per message type: straight-line code for what is common, closures for the rest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from gateway.codec import schema
from gateway.codec.decode_source import MOST_FIELDS, object_lines
from gateway.codec.depth import BOTTOMLESS, depth_of
from gateway.codec.errors import Refused
from gateway.codec.members_in import (
    Entry,
    Slot,
    message_map,
    message_of,
    messages,
    object_of,
    scalar,
    scalar_map,
    scalars,
    transparent,
)
from gateway.codec.raw import RawShape, RawText, with_raw_text
from gateway.codec.scalars_in import Decode, scalar_decoder, text_decoder
from gateway.codec.source import Namespace
from gateway.codec.style import Style
from gateway.codec.text import MAX_DEPTH, parse_exactly
from gateway.codec.well_known_in import Into, well_known_into

Member = tuple[Slot, bool, Into]  # (slot, whether null is a value, setter)


class Decoder:
    """Reads messages in one style. Closures are made on first use and kept."""

    def __init__(self, style: Style, pool: DescriptorPool | None = None) -> None:
        self.style = style
        self.pool = pool if pool is not None else descriptor_pool.Default()
        self.namespace = Namespace()
        self.namespace.constant(Refused)
        self._messages: dict[tuple[str, frozenset[str]], Into] = {}
        self._names: dict[tuple[str, frozenset[str]], str] = {}
        self._depths: dict[str, int] = {}
        self._shapes: dict[str, RawShape] = {}
        self._raw: dict[str, RawShape | None] = {}

    def parser(
        self,
        descriptor: Descriptor,
        *,
        field: FieldDescriptor | None = None,
        ignore_trailing_text: bool = False,
        max_depth: int = MAX_DEPTH,
    ) -> Callable[[bytes], Any]:
        """JSON text → value, for texts that are meant for a message type, or for one field of it.

        Members that travel as raw JSON keep their text.
        """

        @functools.cache  # asked at the first text: most of the types that could be read never are
        def known() -> tuple[int | None, RawShape | None]:
            # Of a type that has a bottom, deeper text is refused for not being of it: its depth need not be counted.
            counted = None if self.depth(descriptor) <= max_depth else max_depth
            shape = self.raw_shape(descriptor)
            return counted, shape if shape is None or field is None else shape.members.get(field.name)

        def parse(body: bytes) -> Any:
            counted, shape = known()
            value, text = parse_exactly(body, ignore_trailing_text=ignore_trailing_text, max_depth=counted)
            return value if shape is None else with_raw_text(text, shape)

        return parse

    def into(self, descriptor: Descriptor, omit: frozenset[str] = frozenset()) -> Into:
        """The closure that merges a JSON value into a message; ``omit`` names top-level fields it may not have."""
        key = (descriptor.full_name, omit)
        known = self._messages.get(key)
        if known is not None:
            return known
        special = well_known_into(descriptor, self)
        if special is not None:
            self._messages[key] = special
            return special
        only = schema.only_field(descriptor)
        members: dict[str, Entry] = {}
        general = transparent(members, only.name) if only else object_of(members, self.style.ignore_unknown)
        fields = [field for field in descriptor.fields if field.name not in omit]
        # Known before its fields are compiled: a message may hold itself.
        self._messages[key] = general
        if only is None and len(fields) <= MOST_FIELDS:
            name = self._names[key] = self.namespace.name("into")
            self.namespace.later(name, "message, value", lambda: object_lines(fields, self, general))
            self._messages[key] = self.namespace.caller(name)
        for field in fields:
            members[field.name] = members[field.json_name] = self._entry(field)
        return self._messages[key]

    def function_name(self, descriptor: Descriptor) -> str | None:
        """The name by which generated code calls ``into(descriptor)``; None when that is no generated function."""
        self.into(descriptor)
        return self._names.get((descriptor.full_name, frozenset()))

    def member(self, field: FieldDescriptor) -> Member:
        """How one field is set from the JSON value of its member."""
        slot = schema.oneof_name(field) or field.number
        return slot, _null_is_value(field), self.field(field)

    def _entry(self, field: FieldDescriptor) -> Entry:
        slot, null_is_value, put = self.member(field)
        once = field.name == field.json_name and schema.oneof_name(field) is None
        as_is = None if field.is_repeated else _type_as_is(field)
        return None if once else slot, field.name, as_is, null_is_value, put

    def field(self, field: FieldDescriptor) -> Into:
        """The closure that sets a field of a message from the JSON value of its member."""
        name = field.name
        value_field = schema.map_value(field)
        if value_field is not None:
            key_field = schema.message_type(field).fields_by_name["key"]
            # The names of an object are texts already.
            key = None if key_field.type == schema.F.TYPE_STRING else text_decoder(key_field)
            if schema.is_message(value_field):
                return message_map(name, key, self.into(schema.message_type(value_field)), _null_is_value(value_field))
            return scalar_map(name, key, self._map_scalar(field, value_field))
        if schema.is_message(field):
            into = self.into(schema.message_type(field))
            return messages(name, into, _null_is_value(field)) if field.is_repeated else message_of(name, into)
        decode = scalar_decoder(field, strict=self.style.strict_types)
        return scalars(name, decode, _type_as_is(field)) if field.is_repeated else scalar(name, decode)

    def _map_scalar(self, field: FieldDescriptor, value: FieldDescriptor) -> Decode:
        rules = schema.field_rules(field)
        # Values of a map take the rules written on the map: its entry type can't carry any.
        ruled = field if rules.raw_json or rules.text else value
        if ruled is value:
            return scalar_decoder(value, strict=self.style.strict_types)
        return scalar_decoder_of_map(value, raw=rules.raw_json)

    def depth(self, descriptor: Descriptor) -> int:
        """How deep the JSON of a type can be; very deep where it has no bottom, or takes what it does not know."""
        return BOTTOMLESS if self.style.ignore_unknown else depth_of(descriptor, self._depths)

    def raw_shape(self, descriptor: Descriptor) -> RawShape | None:
        """Where messages of a type have raw JSON; None when nowhere."""
        name = descriptor.full_name
        if name not in self._raw:
            shape = self._shape(descriptor)
            self._raw[name] = shape if _leads_to_raw(shape, set()) else None
        return self._raw[name]

    def _shape(self, descriptor: Descriptor) -> RawShape:
        known = self._shapes.get(descriptor.full_name)
        if known is not None:
            return known
        only = schema.only_field(descriptor)
        if only is not None:
            shape = self._raw_below(only) or RawShape()
            self._shapes[descriptor.full_name] = shape
            return shape
        # Known before its members: a message may hold itself.
        shape = self._shapes[descriptor.full_name] = RawShape()
        for field in descriptor.fields:
            below = self._raw_below(field)
            if below is not None:
                shape.members[field.name] = shape.members[field.json_name] = below
        return shape

    def _raw_below(self, field: FieldDescriptor) -> RawShape | None:
        if schema.field_rules(field).raw_json:
            return RawShape(raw=True, many=field.is_repeated)
        single = schema.map_value(field) or field
        if not schema.is_message(single) or schema.message_type(single).full_name.startswith("google.protobuf."):
            return None
        inner = self._shape(schema.message_type(single))
        if not field.is_repeated:
            return inner
        return RawShape(members=inner.members, raw=inner.raw, many=True)


def scalar_decoder_of_map(value: FieldDescriptor, *, raw: bool) -> Decode:
    """Values of a map that carry text or raw JSON by the rules of the map."""
    is_text = value.type == schema.F.TYPE_STRING

    def decode(member: Any) -> Any:
        text = member.text if raw and isinstance(member, RawText) else member
        if type(text) is not str:
            raise Refused("a string", member)
        return text if is_text else text.encode()

    return decode


def _leads_to_raw(shape: RawShape, seen: set[int]) -> bool:
    if shape.raw:
        return True
    # The members are shared by shapes of one type: they, not the shape, mark what was looked at.
    if id(shape.members) in seen:
        return False
    seen.add(id(shape.members))
    return any(_leads_to_raw(below, seen) for below in shape.members.values())


def _type_as_is(field: FieldDescriptor) -> type | None:
    """The type of JSON values that (each of) a scalar field takes unseen."""
    if schema.field_rules(field).raw_json:
        return None
    return _AS_IS.get(field.type)


_AS_IS: dict[int, type] = {schema.F.TYPE_STRING: str, schema.F.TYPE_BOOL: bool}


def _null_is_value(field: FieldDescriptor) -> bool:
    """Fields for which null is something to set; for all others it means: not set."""
    if schema.field_rules(field).raw_json:
        return True
    if schema.is_message(field):
        if schema.message_type(field).full_name == schema.VALUE:
            return True
        only = schema.only_field(schema.message_type(field))
        return only is not None and not only.is_repeated and _null_is_value(only)
    return field.type == schema.F.TYPE_ENUM and bool(schema.enum_type(field).full_name == schema.NULL_VALUE)
