"""Messages → JSON: a function per message type, generated once (see ``source``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import orjson
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from gateway.codec import schema
from gateway.codec.empties import always_printed, empty_rule, put_field
from gateway.codec.scalars_out import Encode, Words, key_encoder, scalar_encoder
from gateway.codec.source import Namespace
from gateway.codec.style import Style
from gateway.codec.times import duration_text, timestamp_text
from gateway.codec.well_known_out import well_known_encoder


class Encoder:
    """Prints messages in one style. Functions are made on first use and kept."""

    def __init__(self, style: Style, pool: DescriptorPool | None = None) -> None:
        self.style = style
        self.pool = pool if pool is not None else descriptor_pool.Default()
        self.namespace = Namespace()
        self._names: dict[tuple[str, frozenset[str]], str] = {}

    def dumps(self, message: Message, *, omit: frozenset[str] = frozenset()) -> bytes:
        """The JSON text of a message."""
        return orjson.dumps(self.message(cast(Descriptor, message.DESCRIPTOR), omit)(message))

    def message(self, descriptor: Descriptor, omit: frozenset[str] = frozenset()) -> Encode:
        """The function for a message type; ``omit`` names top-level fields that are not printed."""
        return self.namespace.function(self.function_name(descriptor, omit))

    def function_name(self, descriptor: Descriptor, omit: frozenset[str] = frozenset()) -> str:
        """The name by which generated code calls ``message(descriptor, omit)``."""
        key = (descriptor.full_name, omit)
        known = self._names.get(key)
        if known is not None:
            return known
        special = well_known_encoder(descriptor, self)
        if special is not None:
            name = self._names[key] = self.namespace.bind("encode", special)
            return name
        # Known before its fields are compiled: a message may hold itself.
        name = self._names[key] = self.namespace.name("encode")
        first: list[str] = []  # what is always there, up to the first field that is not
        lines: list[str] = []
        for field in descriptor.fields:
            if field.name in omit or schema.field_rules(field).hidden:
                continue
            empty = empty_rule(field, descriptor, self.style)
            always = None if lines else always_printed(field, self, empty)
            if always is None:
                lines += put_field(field, self, empty)
            else:
                first.append(f"{self.name_of(field)!r}: {always}")
        lines.insert(0, f"members = {{{', '.join(first)}}}")
        only = schema.only_field(descriptor)
        lines.append(f"return members.get({self.name_of(only)!r})" if only else "return members")
        self.namespace.compile(name, "message", lines)
        return name

    def name_of(self, field: FieldDescriptor) -> str:
        """How a member is spelled in replies."""
        return field.name if self.style.proto_names else field.json_name

    def value(self, field: FieldDescriptor) -> Encode:
        """The function for a whole field: a list, a map, or a single value."""
        return self.namespace.compile(
            self.namespace.name("value"), "value", [*self.printed(field, "value", "result"), "return result"]
        )

    def single(self, field: FieldDescriptor, value: str) -> str:
        """Code that prints a field that is neither a list nor a map, given code for its value."""
        return self._element(field, field)(value)

    def printed(self, field: FieldDescriptor, value: str, target: str) -> list[str]:
        """Lines that print a whole field into ``target``, given code for its value: a name, for lists and maps.

        Loops, since a comprehension is a function that is made and called anew for every message, a fifth of the time
        of a map of two.
        """
        entry = schema.map_value(field)
        if entry is not None:
            element = self._element(entry, field)
            key = key_encoder(schema.message_type(field).fields_by_name["key"])
            name = f"{self.namespace.bind('key', key)}(name)" if key else "name"
            lines = [f"entries[{name}] = {element(f'{value}[name]')}"]
            # Sorted: a map has no order of its own, and two servers should answer with the same bytes.
            return [f"{target} = entries = {{}}", *_loop(value, f"for name in sorted({value}):", lines)]
        if not field.is_repeated:
            return [f"{target} = {self.single(field, value)}"]
        # A slice is a plain list: to walk a repeated field itself ends in an IndexError each time, which is dear.
        each = self.single(field, "each")
        if each == "each":
            return [f"{target} = {value}[:] if {value} else []"]
        return [f"{target} = items = []", *_loop(value, f"for each in {value}[:]:", [f"items.append({each})"])]

    def _element(self, field: FieldDescriptor, ruled: FieldDescriptor) -> Callable[[str], str]:
        """Code for one value, given code for what it is.

        ``ruled`` is the field whose rules hold: the map's, for a map's values.
        """
        rules = schema.field_rules(ruled)
        if schema.is_message(field):
            name = schema.message_type(field).full_name
            digits = rules.timestamp_digits or self.style.timestamp_digits
            if name == "google.protobuf.Timestamp":
                text = self.namespace.constant(timestamp_text)
                return lambda value: f"{text}((time := {value}).seconds, time.nanos, {digits})"
            if name == "google.protobuf.Duration":
                text = self.namespace.constant(duration_text)
                return lambda value: f"{text}((time := {value}).seconds, time.nanos)"
            return _called(self.function_name(schema.message_type(field)))
        if field is not ruled and (rules.raw_json or rules.text or rules.integer_number):
            encode = scalar_encoder_of_map(field, rules, self.style)
        else:
            encode = scalar_encoder(field, self.style)
        if encode is None:
            return lambda value: value
        if encode is str:
            return _called("str")
        if isinstance(encode, Words):
            words = self.namespace.bind("words", encode)
            return lambda value: f"{words}[{value}]"
        return _called(self.namespace.bind("scalar", encode))


def _loop(value: str, head: str, lines: list[str]) -> list[str]:
    return [f"if {value}:", f"    {head}", *(f"        {line}" for line in lines)]


def _called(function: str) -> Callable[[str], str]:
    return lambda value: f"{function}({value})"


def scalar_encoder_of_map(field: FieldDescriptor, rules: Any, style: Style) -> Encode | None:
    """Values of a map take the rules written on the map: its entry type can't carry any."""
    if rules.raw_json:
        return lambda value: orjson.Fragment(value) if value else None
    if rules.text:
        return lambda value: value.decode("utf-8", "replace")
    return None
