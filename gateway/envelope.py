"""Failures → the error bodies that a service documents, by ``ErrorEnvelope`` and ``ErrorRule`` of
``runner/gateway/v1/options.proto``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import orjson

from gateway.codec import Encoder, Style
from gateway.error_template import PLACEHOLDER, Occasion, Values, as_text, compile_json, compile_text
from gateway.errors import HTTP_STATUS, Failure
from gateway.selectors import Condition, condition
from runner.gateway.v1 import options_pb2 as options

DEFAULT_MEDIA_TYPE = "application/json"
_TEXT_MEDIA_TYPE = "text/plain; charset=utf-8"


@dataclass(slots=True)
class ErrorReply:
    """A rendered failure."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)


class Envelope:
    """A compiled error body; raises ``ValueError`` at construction for a template that is not JSON."""

    def __init__(
        self, declared: options.ErrorEnvelope, encoder: Encoder | None = None, *, newline: bool = False
    ) -> None:
        is_text = declared.HasField("text")
        self.media_type = declared.media_type or (_TEXT_MEDIA_TYPE if is_text else DEFAULT_MEDIA_TYPE)
        self._encoder = encoder or Encoder(Style())
        self._body: Callable[[Values], bytes]
        if is_text:
            text = compile_text(declared.text)
            self._body = lambda values: as_text(text(values)).encode()
        else:
            self._body = _json_body(declared, newline=newline)

    def render(self, failure: Failure, occasion: Occasion, rules: Iterable[ErrorRule] = ()) -> ErrorReply:
        """The reply to a failed request: by the first of the rules that matches it."""
        rule = next((each for each in rules if each.matches(failure, occasion)), _NO_RULE)
        said = rule.said
        if said.words:
            words = {name: said.words.get(value, value) for name, value in failure.metadata.items()}
            failure = replace(failure, metadata=words)
        status = said.http_status or failure.http_status or HTTP_STATUS.get(failure.code, 500)
        values = Values(
            failure=failure,
            occasion=occasion,
            http_status=status,
            title=said.title or _phrase(status),
            message=_reworded(said.message, failure) if said.message else failure.message,
            reason=said.reason or failure.reason,
            details=lambda: [self._encoder.message(detail.DESCRIPTOR)(detail) for detail in failure.details],
        )
        shape = rule.envelope or self
        headers = [("content-type", shape.media_type), *failure.headers]
        if status == 401 and not any(name == "www-authenticate" for name, _ in headers):
            headers.append(("www-authenticate", "Bearer"))
        return ErrorReply(status, shape._body(values), headers)


class ErrorRule:
    """A compiled rule; raises ``ValueError`` at construction for an envelope or selector that is none."""

    def __init__(self, said: options.ErrorRule, encoder: Encoder | None = None, *, newline: bool = False) -> None:
        self.said = said
        self.envelope = Envelope(said.envelope, encoder, newline=newline) if said.HasField("envelope") else None
        self._when: Condition | None = condition(said.when) if said.HasField("when") else None

    def covers(self, failure: Failure) -> bool:
        """Whether the rule is for this failure, in some request."""
        if self.said.reasons and failure.reason not in self.said.reasons:
            return False
        return not self.said.statuses or failure.status_name in self.said.statuses

    def matches(self, failure: Failure, occasion: Occasion) -> bool:
        """Whether the rule is for this failure of this request."""
        if not self.covers(failure):
            return False
        try:
            return self._when is None or self._when(occasion.request)
        except Failure:  # a query that is none selects nothing
            return False


_NO_RULE = ErrorRule(options.ErrorRule())


def status_envelope(media_type: str = "", *, newline: bool = False) -> Envelope:
    """google.rpc.Status as JSON: what a service that declares nothing answers with."""
    template = '{"code": "${code}", "message": "${message}", "details": "${details}"}'
    return Envelope(options.ErrorEnvelope(template=template, media_type=media_type), newline=newline)


def _json_body(declared: options.ErrorEnvelope, *, newline: bool) -> Callable[[Values], bytes]:
    try:
        template = orjson.loads(declared.template)
    except orjson.JSONDecodeError:
        raise ValueError(f"error envelope is not JSON: {declared.template}") from None
    members = isinstance(template, dict)
    omit_empty = frozenset(declared.omit_empty)
    render = compile_json(template)
    option = orjson.OPT_APPEND_NEWLINE if newline else 0

    def body(values: Values) -> bytes:
        rendered: Any = render(values)
        if members:
            rendered = {name: value for name, value in rendered.items() if value or name not in omit_empty}
        return orjson.dumps(rendered, option=option)

    return body


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

    return PLACEHOLDER.sub(value, text)
