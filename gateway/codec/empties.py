"""One member of a message → one member of an object, or none: what is printed for what is empty.

=========== ======================= ========================== ==================================
rule        field without presence  ``optional`` scalar, unset message, unset
=========== ======================= ========================== ==================================
unspecified its default             left out                   left out
OMIT        left out                left out                   left out
NULL        null                    null                       null
DEFAULT     its default             its default                an empty one; null for well-known
                                                               types and for types inside themselves
=========== ======================= ========================== ==================================

An ``optional`` field or message that is set is printed, whatever its value. Members of a oneof that are
not the one set are always left out: printing them would say that all are set.
"""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.codec import schema
from gateway.codec.style import Style
from runner.gateway.v1 import options_pb2 as options

if TYPE_CHECKING:
    from gateway.codec.encode import Encoder


def empty_rule(field: FieldDescriptor, owner: Descriptor, style: Style) -> int:
    """The nearest rule: the field's, else its message's, else the service's."""
    if schema.oneof_name(field) is not None:
        return options.EMPTY_VALUE_OMIT
    return schema.field_rules(field).empty or schema.message_rules(owner).empty or style.empty


def always_printed(field: FieldDescriptor, encoder: Encoder, empty: int) -> str | None:
    """Code for the value of a single field that is printed whatever it is; None for all other fields."""
    if field.is_repeated or field.has_presence or empty in (options.EMPTY_VALUE_OMIT, options.EMPTY_VALUE_NULL):
        return None
    return encoder.single(field, _read(field.name))


def _read(name: str) -> str:
    return f"getattr(message, {name!r})" if keyword.iskeyword(name) else f"message.{name}"


def put_field(field: FieldDescriptor, encoder: Encoder, empty: int) -> list[str]:
    """The lines of code that write one field of ``message`` into the object ``members``."""
    member, name = f"members[{encoder.name_of(field)!r}]", field.name
    value = _read(name)
    if field.is_repeated:
        lines = [f"value = {value}", *encoder.printed(field, "value", member)]
    else:
        lines = encoder.printed(field, value, member)
    if field.has_presence:
        unset = _unset(field, encoder, empty)
        otherwise = [] if unset is None else ["else:", f"    {member} = {unset}"]
        # Asked of the class: to look a method up on a message costs as much as to call it, since it may be a field.
        has = encoder.namespace.shared("has", schema.message_class(cast(Descriptor, field.containing_type)).HasField)
        return [f"if {has}(message, {name!r}):", *_indented(lines), *otherwise]
    if empty not in (options.EMPTY_VALUE_OMIT, options.EMPTY_VALUE_NULL):
        return lines
    otherwise = ["else:", f"    {member} = None"] if empty == options.EMPTY_VALUE_NULL else []
    return [f"value = {value}", "if value:", *_indented(encoder.printed(field, "value", member)), *otherwise]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _unset(field: FieldDescriptor, encoder: Encoder, empty: int) -> str | None:
    """Code for what to print for a field with presence that is not set; None: nothing."""
    if empty == options.EMPTY_VALUE_NULL:
        return "None"
    if empty != options.EMPTY_VALUE_DEFAULT:
        return None
    bind = encoder.namespace.bind
    if not schema.is_message(field):
        return bind("default", encoder.value(field)(field.default_value))
    if schema.message_type(field).full_name.startswith("google.protobuf.") or _holds_itself(schema.message_type(field)):
        return "None"
    made = bind("message", schema.message_class(schema.message_type(field)))
    return f"{encoder.function_name(schema.message_type(field))}({made}())"


def _holds_itself(descriptor: Descriptor) -> bool:
    """Whether a type is met again below itself, so that printing empty ones would never end."""
    seen: set[str] = set()
    rest = [descriptor]
    while rest:
        for field in rest.pop().fields:
            if schema.is_message(field) and not field.is_repeated:
                inner = schema.message_type(field)
                if inner.full_name == descriptor.full_name:
                    return True
                if inner.full_name not in seen:
                    seen.add(inner.full_name)
                    rest.append(inner)
    return False
