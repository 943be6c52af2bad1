"""Message types → JSON Schemas, as the codec reads and writes them; every message is a component, so that types
that hold themselves end in a reference."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.codec import Encoder, Style, schema
from gateway.codec.empties import empty_rule
from gateway.codec.schema import F
from runner.gateway.v1 import options_pb2 as options

Schema = dict[str, Any]

_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
        "examples": ["1.5s"],
    },
    "google.protobuf.FieldMask": {"type": "string", "examples": ["title,author.name"]},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {"description": "Any JSON value."},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string", "description": "URL of the type of the other members."}},
    },
}
_ANYTHING: Schema = {"description": "Any JSON value."}


class Schemas:
    """Collects the components that a document refers to."""

    def __init__(self, comments: dict[str, str]) -> None:
        self.components: dict[str, Schema] = {}
        self._comments = comments
        self._names: dict[tuple[str, Style], str] = {}

    def message(self, descriptor: Descriptor, encoder: Encoder) -> Schema:
        """A reference to the component of a message type, or the schema of a well-known one."""
        name = descriptor.full_name
        if name in schema.WRAPPERS:
            value = self._scalar(descriptor.fields_by_name["value"], encoder.style)
            return {**value, "type": [value["type"], "null"]}
        if name in _WELL_KNOWN:
            return _WELL_KNOWN[name]
        only = schema.only_field(descriptor)
        if only is not None:
            return self.field(only, descriptor, encoder)
        key = (name, encoder.style)
        if key not in self._names:
            self._names[key] = self._free(name)
            self.components[self._names[key]] = self._object(descriptor, encoder)
        return {"$ref": f"#/components/schemas/{self._names[key]}"}

    def field(self, field: FieldDescriptor, owner: Descriptor, encoder: Encoder) -> Schema:
        """The schema of a member, with its comment."""
        value = schema.map_value(field)
        if value is not None:
            made: Schema = {
                "type": "object",
                "additionalProperties": self._single(value, field, encoder),
            }
        elif field.is_repeated:
            made = {"type": "array", "items": self._single(field, field, encoder)}
        else:
            made = self._single(field, field, encoder)
        if empty_rule(field, owner, encoder.style) == options.EMPTY_VALUE_NULL:
            made = _or_null(made)
        comment = self._comments.get(f"{owner.full_name}.{field.name}")
        return {**made, "description": comment} if comment else made

    def comment(self, name: str) -> str:
        """The comment above a service, RPC or type; empty when there is none."""
        return self._comments.get(name, "")

    def _object(self, descriptor: Descriptor, encoder: Encoder) -> Schema:
        properties = {
            encoder.name_of(field): self.field(field, descriptor, encoder)
            for field in descriptor.fields
            if not _is_outside(field)
        }
        made: Schema = {"type": "object", "properties": properties}
        comment = self.comment(descriptor.full_name)
        return {**made, "description": comment} if comment else made

    def _single(self, field: FieldDescriptor, ruled: FieldDescriptor, encoder: Encoder) -> Schema:
        rules = schema.field_rules(ruled)
        if rules.raw_json:
            return _ANYTHING
        if schema.is_message(field):
            return self.message(schema.message_type(field), encoder)
        if rules.text and field.type == F.TYPE_BYTES:
            return {"type": "string"}
        if field.type == F.TYPE_ENUM:
            return self._enum(schema.enum_type(field), encoder.style)
        return self._scalar(field, encoder.style, integer_number=rules.integer_number)

    def _scalar(self, field: FieldDescriptor, style: Style, *, integer_number: bool = False) -> Schema:
        if field.type in schema.INT64_TYPES:
            if style.integer_numbers or integer_number:
                return {"type": "integer", "format": "int64"}
            return {"type": "string", "format": "int64"}
        if field.type in schema.INT_TYPES:
            made: Schema = {"type": "integer", "format": "int32"}
            return {**made, "minimum": 0} if field.type in schema.UNSIGNED_TYPES else made
        if field.type == F.TYPE_BOOL:
            return {"type": "boolean"}
        if field.type in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
            return {"type": "number", "format": "double" if field.type == F.TYPE_DOUBLE else "float"}
        if field.type == F.TYPE_BYTES:
            return {"type": "string", "format": "byte"}
        return {"type": "string"}

    def _enum(self, enum: EnumDescriptor, style: Style) -> Schema:
        if enum.full_name == schema.NULL_VALUE:
            return {"type": "null"}
        key = (enum.full_name, style)
        if key not in self._names:
            self._names[key] = self._free(enum.full_name)
            words = schema.words(enum)
            lines = [self.comment(enum.full_name)]
            for value in enum.values:
                comment = self._comments.get(f"{enum.full_name}.{value.name}")
                if comment:
                    lines.append(f"- `{words[value.number]}`: {comment}")
            self.components[self._names[key]] = {
                "type": "string",
                "enum": list(dict.fromkeys(words.values())),
                "description": "\n".join(line for line in lines if line),
            }
        return {"$ref": f"#/components/schemas/{self._names[key]}"}

    def _free(self, name: str) -> str:
        """A component name; services that write one type in different styles get one each."""
        taken, wanted, number = set(self._names.values()), name, 2
        while wanted in taken:
            wanted, number = f"{name}.{number}", number + 1
        return wanted


def _or_null(made: Schema) -> Schema:
    if isinstance(made.get("type"), str):
        return {**made, "type": [made["type"], "null"]}
    return {"anyOf": [made, {"type": "null"}]} if made != _ANYTHING else made


def _is_outside(field: FieldDescriptor) -> bool:
    """Fields that are no members of the JSON: filled from elsewhere, or never shown."""
    rules = schema.field_rules(field)
    return bool(rules.hidden or rules.from_header or rules.from_cookie or rules.from_request)
