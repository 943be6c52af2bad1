"""How deep the JSON of a message type can be."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from gateway.codec import schema

BOTTOMLESS = 1_000_000
_FREE = frozenset(
    {"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any"}
)


def depth_of(descriptor: Descriptor, known: dict[str, int]) -> int:
    """Levels of objects and lists; ``BOTTOMLESS`` for types that hold themselves, or anything at all.

    ``known`` gets what was found on the way.
    """
    name = descriptor.full_name
    if name not in known:
        # Until the answer is known: whoever asks from below is inside of this type.
        known[name] = BOTTOMLESS
        known[name] = BOTTOMLESS if name in _FREE else _depth(descriptor, known)
    return known[name]


def _depth(descriptor: Descriptor, known: dict[str, int]) -> int:
    deepest = 0
    for field in descriptor.fields:
        single = schema.map_value(field) or field
        depth = 1 if field.is_repeated else 0
        if schema.field_rules(field).raw_json:
            return BOTTOMLESS
        if schema.is_message(single):
            depth += depth_of(schema.message_type(single), known)
        deepest = max(deepest, depth)
    return min(BOTTOMLESS, deepest + 1)
