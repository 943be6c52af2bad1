"""Images of agents: what a manifest says, how it is written, and what it is called.

An image is its manifest: a JSON object whose SHA-256, ``sha256:`` and 64 hexadecimal digits, is the image's id. The
manifest names the image's files by the digest of their archive, so that the id stands for every byte of both. Names
and tags are pointers to ids and no part of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import Micros

DIGEST_PREFIX = "sha256:"
DEFAULT_TAG = "latest"
MAX_MANIFEST_BYTES = 256 * 1024
MAX_FILES_BYTES = 64 * 1024 * 1024
"""Of an image's unpacked files together."""

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Realm(StrEnum):
    """Where a name is known."""

    LOCAL = "local"
    """Images that agents are made from."""
    REGISTRY = "registry"
    """The service's own registry: what was pushed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that agents of an image have."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageManifest:
    """What an image is."""

    entrypoint: tuple[str, ...] = ()
    """The agent's argument vector, started in a directory that holds the files. Empty: the command of the container;
    without one it cannot be started."""
    container: str = ""
    """The image of containers that agents run in; empty: they are processes of the machine."""
    description: str = ""
    author: str = ""
    version: str = ""
    model: str = ""
    """The language model that it speaks to, for people and searches."""
    multimodal: bool = False
    parameters: str = "{}"
    """A JSON object as text, digit for digit: defaults of what an agent is given."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Defaults of its variables."""
    capabilities: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Words of the author's own."""
    files: str = ""
    """Digest of the archive (tar, uncompressed) of its files; empty: it has none."""
    files_bytes: int = 0
    """Size of that archive."""

    def has_tool(self, name: str) -> bool:
        return any(tool.name == name for tool in self.tools)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as kept: its manifest, byte for byte, under its id."""

    image_id: str
    manifest_json: bytes
    manifest: ImageManifest
    created_at: Micros = 0

    @property
    def size(self) -> int:
        """Bytes of manifest and files."""
        return len(self.manifest_json) + self.manifest.files_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedImage:
    """An image under one of its names."""

    name: str
    tag: str
    image: Image

    @property
    def reference(self) -> str:
        return f"{self.name}:{self.tag}"


def digest_of(data: bytes) -> str:
    return DIGEST_PREFIX + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def make_image(manifest: ImageManifest) -> Image:
    """Writes the manifest: members in a fixed order, empty ones left out, so that equal images have equal ids."""
    members: dict[str, Any] = {
        "schema": 1,
        "entrypoint": list(manifest.entrypoint),
        "container": manifest.container,
        "description": manifest.description,
        "author": manifest.author,
        "version": manifest.version,
        "model": manifest.model,
        "multimodal": manifest.multimodal,
        "environment": dict(sorted(manifest.environment.items())),
        "capabilities": list(manifest.capabilities),
        "tools": [{"name": tool.name, "description": tool.description} for tool in manifest.tools],
        "metadata": dict(sorted(manifest.metadata.items())),
        "files": manifest.files,
        "files_bytes": manifest.files_bytes,
    }
    text = json.dumps({name: value for name, value in members.items() if value}, separators=(",", ":"))
    # Spliced in as text: numbers stay as their author wrote them.
    written = f'{text[:-1]},"parameters":{manifest.parameters}}}'.encode("utf-8", "surrogatepass")
    if len(written) > MAX_MANIFEST_BYTES:
        raise InvalidArgument(field="manifest", problem=f"it is over {MAX_MANIFEST_BYTES} bytes")
    return Image(image_id=digest_of(written), manifest_json=written, manifest=manifest)


def read_manifest(data: bytes) -> ImageManifest:
    """Reads a manifest, as `make_image` wrote it or as a person did. Unknown members are passed over.

    Raises:
        InvalidArgument: It is no JSON object, or a member has another type; names the member.
    """
    try:
        text = data.decode()
        raw = raw_members(text)
    except ValueError:
        raise InvalidArgument(field="manifest", problem="it is not a JSON object") from None
    members = {name: json.loads(value) for name, value in raw.items() if name != "parameters"}
    parameters = raw.get("parameters", "{}")
    if not isinstance(json.loads(parameters), dict):
        raise InvalidArgument(field="manifest.parameters", problem="give an object")
    return ImageManifest(
        entrypoint=_strings(members, "entrypoint"),
        container=_string(members, "container"),
        description=_string(members, "description"),
        author=_string(members, "author"),
        version=_string(members, "version"),
        model=_string(members, "model"),
        multimodal=members.get("multimodal") is True,
        parameters=parameters,
        environment=_map(members, "environment"),
        capabilities=_strings(members, "capabilities"),
        tools=tuple(map(_tool, _list(members, "tools"))),
        metadata=_map(members, "metadata"),
        files=_string(members, "files"),
        files_bytes=size if isinstance(size := members.get("files_bytes", 0), int) else 0,
    )


def raw_members(text: str) -> dict[str, str]:
    """The members of a JSON object as the texts that stand there. Raises ValueError when it is no object."""
    decoder = json.JSONDecoder()
    members: dict[str, str] = {}
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("no object")
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        name, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        if not isinstance(name, str) or text[at : at + 1] != ":":
            raise ValueError("no member")
        start = _skip(text, at + 1)
        _, at = decoder.raw_decode(text, start)
        members[name] = text[start:at]
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
            if text[at : at + 1] == "}":
                raise ValueError("a comma too many")
        elif text[at : at + 1] != "}":
            raise ValueError("no end")
    if _skip(text, at + 1) != len(text):
        raise ValueError("text behind the end")
    return members


def split_reference(reference: str) -> tuple[str, str]:
    """``name[:tag]`` as name and tag; the tag is ``latest`` where none is said."""
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        return reference, DEFAULT_TAG
    return name, tag


def check_name(name: str) -> str:
    """Raises `InvalidArgument` unless it is a name that every registry takes."""
    if len(name) > 255 or not _NAME.fullmatch(name):
        raise InvalidArgument(
            field="name", problem="give lower case letters, digits and . _ - between them, in parts divided by /"
        )
    return name


def check_tag(tag: str) -> str:
    """Raises `InvalidArgument` unless it is a tag that every registry takes."""
    if not _TAG.fullmatch(tag):
        raise InvalidArgument(field="tag", problem="give up to 128 letters, digits and . _ -, the first no . or -")
    return tag


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _string(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name, "")
    if not isinstance(value, str):
        raise InvalidArgument(field=f"manifest.{name}", problem="give a string")
    return value


def _list(members: Mapping[str, Any], name: str) -> list[Any]:
    value = members.get(name, [])
    if not isinstance(value, list):
        raise InvalidArgument(field=f"manifest.{name}", problem="give a list")
    return value


def _strings(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = _list(members, name)
    if not all(isinstance(each, str) for each in value):
        raise InvalidArgument(field=f"manifest.{name}", problem="give a list of strings")
    return tuple(value)


def _map(members: Mapping[str, Any], name: str) -> Mapping[str, str]:
    value = members.get(name, {})
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise InvalidArgument(field=f"manifest.{name}", problem="give an object of strings")
    return value


def _tool(value: object) -> Tool:
    if isinstance(value, str):
        return Tool(name=value)
    if isinstance(value, dict) and value.get("name"):
        return Tool(name=_string(value, "name"), description=_string(value, "description"))
    raise InvalidArgument(field="manifest.tools", problem="give objects with a name and a description")
