"""The field mask of a PATCH or PUT, from the members that its body has."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.codec import schema
from gateway.fields import find_field

FIELD_MASK = "google.protobuf.FieldMask"


def mask_field(descriptor: Descriptor) -> FieldDescriptor | None:
    """The one field mask at the top level of a request; None when there is none, or more than one."""
    masks = [
        field
        for field in descriptor.fields
        if schema.is_message(field) and not field.is_repeated and schema.message_type(field).full_name == FIELD_MASK
    ]
    return masks[0] if len(masks) == 1 else None


def mask_paths(value: Any, descriptor: Descriptor, *, but: frozenset[str] = frozenset()) -> list[str]:
    """The paths of a JSON object's members, as the proto file spells them; maps and lists are one path each."""
    paths: list[str] = []
    if not isinstance(value, dict):
        return paths
    for name, member in value.items():
        field = find_field(descriptor, name)
        if field is None or field.name in but:
            continue
        if isinstance(member, dict) and member and _has_fields(field):
            paths += [f"{field.name}.{path}" for path in mask_paths(member, schema.message_type(field))]
        else:
            paths.append(field.name)
    return paths


def _has_fields(field: FieldDescriptor) -> bool:
    return (
        schema.is_message(field)
        and not field.is_repeated
        and not schema.message_type(field).full_name.startswith("google.protobuf.")
        and schema.only_field(schema.message_type(field)) is None
    )
