"""Failures → the error bodies that a service documents.

A template is JSON text with ``${name}`` placeholders, compiled once. See ``ErrorEnvelope`` and ``ErrorRule`` in
``runner/gateway/v1/options.proto`` for the names and for how rules are chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson

from gateway.codec import Encoder, Style
from gateway.errors import HTTP_STATUS, Failure
from runner.gateway.v1 import options_pb2 as options

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
DEFAULT_MEDIA_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Occasion:
    """The request that failed, as error bodies may mention it."""

    request_id: str
    method: str
    path: str
    now: datetime


@dataclass(slots=True)
class ErrorReply:
    """A rendered failure."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Values:
    """What placeholders stand for, for one failure."""

    failure: Failure
    occasion: Occasion
    http_status: int
    title: str
    message: str
    reason: str
    details: Callable[[], list[Any]]


_Render = Callable[[_Values], Any]


class Envelope:
    """A compiled error body; raises ``ValueError`` at construction for a template that is not JSON."""

    def __init__(self, declared: options.ErrorEnvelope, encoder: Encoder | None = None) -> None:
        self.media_type = declared.media_type or DEFAULT_MEDIA_TYPE
        self._encoder = encoder or Encoder(Style())
        self._omit_empty = frozenset(declared.omit_empty)
        try:
            template = orjson.loads(declared.template)
        except orjson.JSONDecodeError:
            raise ValueError(f"error envelope is not JSON: {declared.template}") from None
        self._members = isinstance(template, dict)
        self._render = _compile(template)

    def render(self, failure: Failure, occasion: Occasion, rules: Iterable[options.ErrorRule] = ()) -> ErrorReply:
        """The reply to a failed request."""
        rule = _matching(failure, rules)
        if rule.words:
            words = {name: rule.words.get(value, value) for name, value in failure.metadata.items()}
            failure = replace(failure, metadata=words)
        status = rule.http_status or failure.http_status or HTTP_STATUS.get(failure.code, 500)
        values = _Values(
            failure=failure,
            occasion=occasion,
            http_status=status,
            title=rule.title or _phrase(status),
            message=_reworded(rule.message, failure) if rule.message else failure.message,
            reason=rule.reason or failure.reason,
            details=lambda: [self._encoder.message(detail.DESCRIPTOR)(detail) for detail in failure.details],
        )
        body = self._render(values)
        if self._members:
            body = {name: value for name, value in body.items() if value or name not in self._omit_empty}
        headers = [("content-type", self.media_type), *failure.headers]
        if status == 401 and not any(name == "www-authenticate" for name, _ in headers):
            headers.append(("www-authenticate", "Bearer"))
        return ErrorReply(status, orjson.dumps(body), headers)


def status_envelope(media_type: str = "") -> Envelope:
    """google.rpc.Status as JSON: what a service that declares nothing answers with."""
    template = '{"code": "${code}", "message": "${message}", "details": "${details}"}'
    return Envelope(options.ErrorEnvelope(template=template, media_type=media_type))


def _matching(failure: Failure, rules: Iterable[options.ErrorRule]) -> options.ErrorRule:
    for rule in rules:
        if rule.reasons and failure.reason not in rule.reasons:
            continue
        if rule.statuses and failure.status_name not in rule.statuses:
            continue
        return rule
    return _NO_RULE


_NO_RULE = options.ErrorRule()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Error"


def _reworded(text: str, failure: Failure) -> str:
    """The message of a rule, with the error's own message and metadata in its places."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("metadata."):
            return failure.metadata.get(name.removeprefix("metadata."), "")
        return failure.message if name == "message" else match[0]

    return _PLACEHOLDER.sub(value, text)


def _compile(template: Any) -> _Render:
    if isinstance(template, dict):
        members = {name: _compile(value) for name, value in template.items()}
        return lambda values: {name: render(values) for name, render in members.items()}
    if isinstance(template, list):
        items = [_compile(value) for value in template]
        return lambda values: [render(values) for render in items]
    if isinstance(template, str):
        return _compile_text(template)
    return lambda values: template


def _compile_text(text: str) -> _Render:
    whole = _PLACEHOLDER.fullmatch(text)
    if whole:
        return _getter(whole[1])
    parts = _PLACEHOLDER.split(text)  # text, name, text, name, …, text
    getters = {name: _getter(name) for name in parts[1::2]}
    if not getters:
        return lambda values: text

    def render(values: _Values) -> str:
        return "".join(_as_text(getters[part](values)) if index % 2 else part for index, part in enumerate(parts))

    return render


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _getter(name: str) -> _Render:
    if name.startswith("metadata."):
        key = name.removeprefix("metadata.")
        return lambda values: values.failure.metadata.get(key, "")
    if name not in _GETTERS:
        raise ValueError(f"error envelope has an unknown placeholder: {name}")
    return _GETTERS[name]


_GETTERS: dict[str, _Render] = {
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
    "path": lambda values: values.occasion.path,
    "method": lambda values: values.occasion.method,
}
