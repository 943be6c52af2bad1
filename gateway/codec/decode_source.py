"""The straight-line code that reads an object into a message: the common case of ``members_in.object_of``.

It is for objects all of whose members are known, in the spelling that we print. Whatever it does not take at first
sight (a number in a string, a word that is none, text in a list of numbers) goes through the closures of the general
case.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor

from gateway.codec import schema
from gateway.codec.errors import Refused
from gateway.codec.members_in import twice
from gateway.codec.scalars_in import FLOAT_LIMIT, integer_range
from gateway.codec.schema import F
from gateway.codec.times import parse_duration, parse_timestamp
from gateway.codec.well_known_in import Into

if TYPE_CHECKING:
    from gateway.codec.decode import Decoder

MOST_FIELDS = 64
"""Of a message with more, few are given at a time: looking up those that are given costs less."""

_TEXTS = frozenset({str}).issuperset
_TIMES = {"google.protobuf.Timestamp": parse_timestamp, "google.protobuf.Duration": parse_duration}


def object_lines(fields: Iterable[FieldDescriptor], decoder: Decoder, general: Into) -> list[str]:
    """The body of a function of ``message`` and ``value``; ``general`` takes what it does not."""
    space, fields = decoder.namespace, list(fields)
    names = frozenset(_spelled(field, decoder) for field in fields)
    known = space.bind("known", names.issuperset)
    lines = [
        f"if type(value) is not dict or not {known}(value):",
        f"    return {space.bind('general', general)}(message, value)",
    ]
    oneofs = {oneof for field in fields if (oneof := schema.oneof_name(field)) is not None}
    lines += [f"given_{oneof} = False" for oneof in sorted(oneofs)]
    for field in fields:
        lines += _field(field, decoder)
    return lines


def _field(field: FieldDescriptor, decoder: Decoder) -> list[str]:
    name = _spelled(field, decoder)
    _, null_is_value, put = decoder.member(field)
    oneof = schema.oneof_name(field)
    # Code that looks at the type of a value sees a null there, where few come.
    is_seen = not null_is_value and oneof is None and not _is_other_message(field)
    general = f"{decoder.namespace.bind('put', _named(put, name, but_null=is_seen))}(message, item)"
    set_it = _at_sight(field, decoder, name, general)
    if oneof is not None:
        refuse = decoder.namespace.bind("twice", _raise_twice(oneof, name))
        set_it = [f"if given_{oneof}:", f"    {refuse}()", f"given_{oneof} = True", *set_it]
    if not null_is_value and not is_seen:
        set_it = ["if item is not None:", *(f"    {line}" for line in set_it)]
    # Most members are not there: to ask so takes a third of the time of a call of ``get``.
    return [f"if {name!r} in value:", f"    item = value[{name!r}]", *(f"    {line}" for line in set_it)]


def _at_sight(field: FieldDescriptor, decoder: Decoder, name: str, general: str) -> list[str]:
    """Code that sets a field to ``item``, at once where its type is the expected one."""
    rules = schema.field_rules(field)
    if rules.raw_json or rules.text or keyword.iskeyword(field.name):
        return [general]
    attribute = f"message.{field.name}"
    if field.is_repeated:
        return _repeated(field, decoder, name, attribute, general)
    if schema.is_message(field):
        return _message(field, decoder, name, attribute, general)
    kind = field.type
    if kind == F.TYPE_STRING:
        return _unless("TypeError", f"{attribute} = item", general)
    if kind == F.TYPE_BOOL:
        return _if("type(item) is bool", f"{attribute} = item", general)
    if kind in schema.INT_TYPES:
        low, high = integer_range(field)
        if kind in schema.INT64_TYPES and not decoder.style.strict_types:
            # As ProtoJSON writes them: a string of digits. Nineteen of them may be too many.
            test = "type(item) is str and len(item) < 19 and item.isdecimal() and item.isascii()"
            return _if(test, f"{attribute} = int(item)", general)
        return _if(f"type(item) is int and {low} <= item <= {high}", f"{attribute} = item", general)
    if kind in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
        limit = decoder.namespace.bind("limit", FLOAT_LIMIT if kind == F.TYPE_FLOAT else float("inf"))
        return _if(f"type(item) is float and -{limit} < item < {limit}", f"{attribute} = item", general)
    if kind == F.TYPE_ENUM:
        numbers = decoder.namespace.bind("numbers", schema.numbers(schema.enum_type(field)))
        return _unless("(KeyError, TypeError)", f"{attribute} = {numbers}[item]", general)
    return [general]


def _message(field: FieldDescriptor, decoder: Decoder, name: str, attribute: str, general: str) -> list[str]:
    descriptor = schema.message_type(field)
    parse = _TIMES.get(descriptor.full_name)
    if parse is not None:
        call = f"(time := {attribute}).seconds, time.nanos = {decoder.namespace.constant(parse)}(item)"
        return _if("type(item) is str", *_under(call, name), general=general)
    into = decoder.function_name(descriptor)
    if into is None:
        return [general]
    # Called on the class: to look a method up on a message costs as much as to call it, since it may be a field.
    present = decoder.namespace.shared("present", schema.message_class(descriptor).SetInParent)
    return [f"inner = {attribute}", f"{present}(inner)", *_under(f"{into}(inner, item)", name)]


def _repeated(field: FieldDescriptor, decoder: Decoder, name: str, attribute: str, general: str) -> list[str]:
    value = schema.map_value(field)
    if value is not None:
        key = schema.message_type(field).fields_by_name["key"]
        if not value.type == key.type == F.TYPE_STRING:
            return [general]
        put = _unless("TypeError", "for key in item:", "    entries[key] = item[key]", general=general)
        return _if("type(item) is dict", *_if_any(f"entries = {attribute}", *put), general=general)
    if field.type == F.TYPE_STRING:
        texts = decoder.namespace.shared("texts", _TEXTS)
        put = _if(f"{texts}(map(type, item))", f"{attribute}.extend(item)", general=general)
        return _if("type(item) is list", *_if_any(*put), general=general)
    into = decoder.function_name(schema.message_type(field)) if schema.is_message(field) else None
    if into is None:
        return [general]
    put = [
        f"add, index = {attribute}.add, 0",
        "try:",
        "    for index, each in enumerate(item):",
        f"        {into}(add(), each)",
        "except Refused as refused:",
        f"    raise refused.under(f'[{{index}}]').under({name!r}) from None",
    ]
    return _if("type(item) is list and None not in item", *_if_any(*put), general=general)


def _under(call: str, name: str) -> list[str]:
    """A call whose refusals are told to be below a member. Costs nothing until one is raised."""
    return ["try:", f"    {call}", "except Refused as refused:", f"    raise refused.under({name!r}) from None"]


def _unless(errors: str, *lines: str, general: str = "") -> list[str]:
    """Leaves it to protobuf to refuse what is of another type, which it does for texts as JSON wants it."""
    *then_lines, otherwise = (*lines, general) if general else lines
    return ["try:", *(f"    {line}" for line in then_lines), f"except {errors}:", f"    {otherwise}"]


def _if_any(*lines: str) -> list[str]:
    """For a list or an object that may be empty, as half of those are that we print ourselves."""
    return ["if item:", *(f"    {line}" for line in lines)]


def _if(test: str, *then: str, general: str = "") -> list[str]:
    *then_lines, otherwise = (*then, general) if general else then
    return [f"if {test}:", *(f"    {line}" for line in then_lines), "else:", f"    {otherwise}"]


def _spelled(field: FieldDescriptor, decoder: Decoder) -> str:
    return field.name if decoder.style.proto_names else field.json_name


def _is_other_message(field: FieldDescriptor) -> bool:
    """A single message that is no time: whatever its value is, it is handed on."""
    return schema.is_message(field) and not field.is_repeated and schema.message_type(field).full_name not in _TIMES


def _named(put: Into, name: str, *, but_null: bool) -> Into:
    def named(message: object, item: object) -> None:
        if but_null and item is None:
            return
        try:
            put(message, item)
        except Refused as refused:
            raise refused.under(name) from None

    return named


def _raise_twice(oneof: str, name: str) -> object:
    def refuse() -> None:
        raise twice(oneof).under(name)

    return refuse
