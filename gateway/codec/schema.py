"""What the codec and the binder ask of descriptors, in one place."""

from __future__ import annotations

import functools
from typing import Any, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from runner.gateway.v1 import options_pb2 as options

F = FieldDescriptor

INT64_TYPES = frozenset({F.TYPE_INT64, F.TYPE_SINT64, F.TYPE_SFIXED64, F.TYPE_UINT64, F.TYPE_FIXED64})
UNSIGNED_TYPES = frozenset({F.TYPE_UINT32, F.TYPE_FIXED32, F.TYPE_UINT64, F.TYPE_FIXED64})
INT_TYPES = INT64_TYPES | {F.TYPE_INT32, F.TYPE_SINT32, F.TYPE_SFIXED32, F.TYPE_UINT32, F.TYPE_FIXED32}
MESSAGE_TYPES = frozenset({F.TYPE_MESSAGE, F.TYPE_GROUP})

WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
NULL_VALUE = "google.protobuf.NullValue"
VALUE = "google.protobuf.Value"
HTTP_BODY = "google.api.HttpBody"


def message_class(descriptor: Descriptor) -> type[Message]:
    """The generated (or made) class of a message type."""
    return message_factory.GetMessageClass(descriptor)


def field_rules(field: FieldDescriptor) -> options.FieldRules:
    """How a field is read and written; all defaults where nothing is said."""
    return field.GetOptions().Extensions[options.field]


def message_rules(descriptor: Descriptor) -> options.MessageRules:
    """How a message type is written; all defaults where nothing is said."""
    return descriptor.GetOptions().Extensions[options.message]


def message_type(field: FieldDescriptor) -> Descriptor:
    """The type of a message field."""
    return cast(Descriptor, field.message_type)


def enum_type(field: FieldDescriptor) -> EnumDescriptor:
    """The type of an enum field."""
    return cast(EnumDescriptor, field.enum_type)


def is_message(field: FieldDescriptor) -> bool:
    """A message (or group) field, a map included."""
    return field.type in MESSAGE_TYPES


def map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """The value field of a map; None for what is no map."""
    if is_message(field) and message_type(field).GetOptions().map_entry:
        return message_type(field).fields_by_name["value"]
    return None


@functools.lru_cache(maxsize=4096)
def oneof_name(field: FieldDescriptor) -> str | None:
    """The declared oneof that a field is a member of; None also for proto3 ``optional``."""
    oneof = field.containing_oneof
    if oneof is None:
        return None
    # An `optional` field sits in a synthetic oneof of its own, named after it.
    if len(oneof.fields) == 1 and oneof.name == f"_{field.name}":
        return None
    return oneof.name


def words(enum: EnumDescriptor) -> dict[int, str]:
    """How each number prints: its declared word, else its (first) name."""
    printed: dict[int, str] = {}
    for value in enum.values:
        word = value.GetOptions().Extensions[options.enum_value].word
        printed.setdefault(value.number, word or value.name)
    return printed


def numbers(enum: EnumDescriptor) -> dict[str, int]:
    """What may stand for each number in a request: names, aliases and declared words."""
    read = {value.name: value.number for value in enum.values}
    for value in enum.values:
        word = value.GetOptions().Extensions[options.enum_value].word
        if word:
            read[word] = value.number
    return read


def only_field(descriptor: Descriptor) -> FieldDescriptor | None:
    """The field that a transparent message is written as; None when it is not transparent."""
    if not message_rules(descriptor).transparent:
        return None
    fields = cast("list[FieldDescriptor]", descriptor.fields)
    if len(fields) != 1:
        raise ValueError(f"{descriptor.full_name} is transparent, which takes exactly one field")
    return fields[0]


def find_message(pool: DescriptorPool, type_url: str) -> Descriptor | None:
    """The type that the ``@type`` of an Any names; None when it is not known here."""
    try:
        return cast(Any, pool).FindMessageTypeByName(type_url.rpartition("/")[2])  # type: ignore[no-any-return]
    except KeyError:
        return None
