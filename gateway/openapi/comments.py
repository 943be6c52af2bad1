"""The comments of proto files, by the full name of what they stand above."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2

# Field numbers of descriptor.proto, of which source locations are made.
_FILE_MESSAGES, _FILE_ENUMS, _FILE_SERVICES = 4, 5, 6
_MESSAGE_FIELDS, _MESSAGE_NESTED, _MESSAGE_ENUMS = 2, 3, 4
_ENUM_VALUES, _SERVICE_METHODS = 2, 2


def read_comments(descriptors: bytes | None) -> dict[str, str]:
    """Leading (else trailing) comments out of a serialized FileDescriptorSet; empty without source info."""
    comments: dict[str, str] = {}
    if not descriptors:
        return comments
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        by_path = {
            tuple(location.path): location.leading_comments or location.trailing_comments
            for location in file.source_code_info.location
        }
        for name, path in _named(file):
            text = by_path.get(path, "")
            if text:
                comments[name] = "\n".join(line.removeprefix(" ") for line in text.strip("\n").split("\n"))
    return comments


def _named(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    prefix = f"{file.package}." if file.package else ""
    for index, message in enumerate(file.message_type):
        yield from _message(message, prefix, (_FILE_MESSAGES, index))
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, prefix, (_FILE_ENUMS, index))
    for index, service in enumerate(file.service):
        name, path = f"{prefix}{service.name}", (_FILE_SERVICES, index)
        yield name, path
        for number, method in enumerate(service.method):
            yield f"{name}.{method.name}", (*path, _SERVICE_METHODS, number)


def _message(message: Any, prefix: str, path: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    name = f"{prefix}{message.name}"
    yield name, path
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, _MESSAGE_FIELDS, index)
    for index, nested in enumerate(message.nested_type):
        yield from _message(nested, f"{name}.", (*path, _MESSAGE_NESTED, index))
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{name}.", (*path, _MESSAGE_ENUMS, index))


def _enum(enum: Any, prefix: str, path: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    name = f"{prefix}{enum.name}"
    yield name, path
    for index, value in enumerate(enum.value):
        # Unlike the values' own full names, under their enum: two enums may have values of one name.
        yield f"{name}.{value.name}", (*path, _ENUM_VALUES, index)
