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

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.codec import schema
from gateway.codec.scalars_out import Encode
from gateway.codec.style import Style
from runner.gateway.v1 import options_pb2 as options

if TYPE_CHECKING:
    from gateway.codec.encode import Encoder

Put = Callable[[Any, dict[str, Any]], None]


def empty_rule(field: FieldDescriptor, owner: Descriptor, style: Style) -> int:
    """The nearest rule: the field's, else its message's, else the service's."""
    if schema.oneof_name(field) is not None:
        return options.EMPTY_VALUE_OMIT
    return schema.field_rules(field).empty or schema.message_rules(owner).empty or style.empty


def put_field(field: FieldDescriptor, encoder: Encoder, empty: int) -> Put:
    """Writes one field of a message into an object."""
    name, attribute = encoder.name_of(field), field.name
    encode = encoder.value(field)
    if field.has_presence:
        return _optional(name, attribute, encode, _unset(field, encoder, empty))
    if empty == options.EMPTY_VALUE_OMIT:
        return _unless_empty(name, attribute, encode)
    if empty == options.EMPTY_VALUE_NULL:
        return _or_null(name, attribute, encode)
    return _always(name, attribute, encode)


def _always(name: str, attribute: str, encode: Encode | None) -> Put:
    def put_as_is(message: Any, members: dict[str, Any]) -> None:
        members[name] = getattr(message, attribute)

    def put(message: Any, members: dict[str, Any]) -> None:
        members[name] = encode(getattr(message, attribute))  # type: ignore[misc]

    return put_as_is if encode is None else put


def _unless_empty(name: str, attribute: str, encode: Encode | None) -> Put:
    def put(message: Any, members: dict[str, Any]) -> None:
        value = getattr(message, attribute)
        if value:
            members[name] = value if encode is None else encode(value)

    return put


def _or_null(name: str, attribute: str, encode: Encode | None) -> Put:
    def put(message: Any, members: dict[str, Any]) -> None:
        value = getattr(message, attribute)
        if not value:
            members[name] = None
        else:
            members[name] = value if encode is None else encode(value)

    return put


def _optional(name: str, attribute: str, encode: Encode | None, unset: Callable[[], Any] | None) -> Put:
    def put(message: Any, members: dict[str, Any]) -> None:
        if message.HasField(attribute):
            value = getattr(message, attribute)
            members[name] = value if encode is None else encode(value)
        elif unset is not None:
            members[name] = unset()

    return put


def _unset(field: FieldDescriptor, encoder: Encoder, empty: int) -> Callable[[], Any] | None:
    """What to print for a field with presence that is not set; None: nothing."""
    if empty == options.EMPTY_VALUE_NULL:
        return lambda: None
    if empty != options.EMPTY_VALUE_DEFAULT:
        return None
    if not schema.is_message(field):
        encode, default = encoder.value(field), field.default_value
        return lambda: default if encode is None else encode(default)
    if schema.message_type(field).full_name.startswith("google.protobuf.") or _holds_itself(schema.message_type(field)):
        return lambda: None
    message_type = schema.message_class(schema.message_type(field))
    inner = encoder.message(schema.message_type(field))
    return lambda: inner(message_type())


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
