"""Error bodies with ``${name}`` placeholders, compiled once. The names are listed at ``ErrorEnvelope`` in
``runner/gateway/v1/options.proto``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from gateway.errors import Failure
from gateway.request import HttpRequest

PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Occasion:
    """The request that failed, as error bodies may mention it."""

    request_id: str
    request: HttpRequest
    now: datetime


@dataclass(slots=True)
class Values:
    """What placeholders stand for, for one failure."""

    failure: Failure
    occasion: Occasion
    http_status: int
    title: str
    message: str
    reason: str
    details: Callable[[], list[Any]]


Render = Callable[[Values], Any]


def compile_json(template: Any) -> Render:
    """A renderer for a JSON value; raises ``ValueError`` for an unknown placeholder."""
    if isinstance(template, dict):
        members = [(compile_text(name), compile_json(value)) for name, value in template.items()]
        return lambda values: {as_text(name(values)): render(values) for name, render in members}
    if isinstance(template, list):
        items = [compile_json(value) for value in template]
        return lambda values: [render(values) for render in items]
    if isinstance(template, str):
        return compile_text(template)
    return lambda values: template


def compile_text(text: str) -> Render:
    """A renderer for a text: of the value itself when it is one placeholder and nothing else."""
    whole = PLACEHOLDER.fullmatch(text)
    if whole:
        return _getter(whole[1])
    parts = PLACEHOLDER.split(text)  # text, name, text, name, …, text
    getters = {name: _getter(name) for name in parts[1::2]}
    if not getters:
        return lambda values: text

    def render(values: Values) -> str:
        return "".join(as_text(getters[part](values)) if index % 2 else part for index, part in enumerate(parts))

    return render


def as_text(value: Any) -> str:
    """A value inside a text."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _getter(name: str) -> Render:
    if name.startswith("metadata."):
        key = name.removeprefix("metadata.")
        return lambda values: values.failure.metadata.get(key, "")
    if name.startswith("metadata_json."):
        key = name.removeprefix("metadata_json.")
        return lambda values: _parsed(values.failure.metadata.get(key))
    if name not in _GETTERS:
        raise ValueError(f"error envelope has an unknown placeholder: {name}")
    return _GETTERS[name]


def _parsed(text: str | None) -> Any:
    """Metadata that carries JSON; what is none is no reason to fail once more."""
    if text is None:
        return {}
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


_GETTERS: dict[str, Render] = {
    "title": lambda values: values.title,
    "message": lambda values: values.message,
    "reason": lambda values: values.reason,
    "code": lambda values: values.failure.code,
    "status": lambda values: values.failure.status_name,
    "http_status": lambda values: values.http_status,
    "details": lambda values: values.details(),
    "metadata": lambda values: values.failure.metadata,
    "request_id": lambda values: values.occasion.request_id,
    "timestamp": lambda values: values.occasion.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "path": lambda values: values.occasion.request.raw_path,
    "method": lambda values: values.occasion.request.method,
}
