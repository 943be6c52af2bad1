"""Fields that headers, cookies and other parts of a request fill."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from gateway.codec import Decoder, Refused, schema
from gateway.errors import from_refused
from gateway.fields import as_text_field
from gateway.request import HttpRequest
from runner.gateway.v1 import options_pb2 as options


class Supplied:
    """A field that a header, a cookie or another part of the request fills."""

    def __init__(self, field: FieldDescriptor, decoder: Decoder) -> None:
        rules = schema.field_rules(field)
        self.name: str = field.name
        self._header = rules.from_header.lower()
        self._cookie = rules.from_cookie
        self._part = rules.from_request
        self._shown = rules.from_header or rules.from_cookie or self.name
        self.is_end = self._part == options.REQUEST_PART_END
        if self.is_end and (field.type != schema.F.TYPE_BOOL or field.is_repeated):
            raise ValueError(f"{field.full_name} can't say that the body has ended: it is no bool")
        try:
            self._target = as_text_field((field,), decoder)
        except Refused as refused:
            raise ValueError(f"{field.full_name} can't be filled from a header: {refused}") from None

    def bind(self, message: Any, request: HttpRequest) -> None:
        """Sets the field when its part is there; ``Failure`` (400) when it does not fit."""
        texts = [] if self.is_end else self._texts(request)
        if not texts:
            return
        try:
            self._target.put(message, texts)
        except Refused as refused:
            raise from_refused(refused, root=self._shown) from None

    def _texts(self, request: HttpRequest) -> list[str]:
        if self._header:
            return request.header_list(self._header)
        if self._cookie:
            cookie = request.cookie(self._cookie)
            return [] if cookie is None else [cookie]
        if self._part == options.REQUEST_PART_PEER:
            return [request.client_host]
        if self._part == options.REQUEST_PART_HOST:
            return [request.header("host") or ""]
        if self._part == options.REQUEST_PART_SCHEME:
            return [request.scheme]
        if self._part == options.REQUEST_PART_QUERY:
            return [request.raw_query]
        if self._part == options.REQUEST_PART_METHOD:
            return [request.method]
        return [request.target]


def is_supplied(field: FieldDescriptor) -> bool:
    """Whether a field is filled from outside path, query and body."""
    rules = schema.field_rules(field)
    return bool(rules.from_header or rules.from_cookie or rules.from_request)
