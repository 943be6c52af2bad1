"""Path, query, body and headers → one request message, compiled per binding of an RPC.

The order is: body, path, query, then what headers and other request parts supply. Where two name one field,
the path wins over body and query; strictly (that is, unless the service ignores unknown names) they must agree.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from gateway.codec import Decoder, NotJson, Refused, schema
from gateway.errors import Reason, from_refused, refusal
from gateway.fields import TextField, as_text_field, resolve_path
from gateway.masks import mask_field, mask_paths
from gateway.query import QueryBinder, check_oneofs
from gateway.raw_body import raw_target
from gateway.request import HttpRequest
from gateway.supplied import Supplied, is_supplied
from gateway.template import Template
from runner.gateway.v1 import options_pb2 as options

# NDJSON is what a client stream is made of: JSON, many times.
_JSON_TYPES = frozenset({"application/json", "application/x-ndjson", "application/ndjson", "application/jsonl"})
# Fewer levels of JSON or names than this can't be more levels of messages than protobuf reads: the deepest of them, a
# Struct, has three for each.
_SHALLOW = 32


class Binder:
    """Fills the request of one binding; raises ``ValueError`` at construction for a binding that can't work."""

    def __init__(
        self,
        descriptor: Descriptor,
        decoder: Decoder,
        template: Template,
        *,
        body: str,
        http_method: str,
        service_rules: options.ServiceRules,
        method_rules: options.MethodRules,
        also_known: frozenset[str] = frozenset(),
        max_depth: int = 100,
        query_beside_body: bool = False,
    ) -> None:
        """``also_known`` are query parameters that need not be fields."""
        self.descriptor = descriptor
        self._new = schema.message_class(descriptor)
        self._decoder = decoder
        self._rules = service_rules
        self._body_required = method_rules.body_required
        self._non_json_as_empty = method_rules.non_json_as_empty
        self._supplied = [Supplied(field, decoder) for field in descriptor.fields if is_supplied(field)]
        supplied = frozenset(each.name for each in self._supplied)
        self.end = next((each.name for each in self._supplied if each.is_end), "")
        """The field that says that a streamed body has come whole."""
        paths = [(variable.path, _path_field(descriptor, variable.path, decoder)) for variable in template.variables]
        self.body_fields: tuple[FieldDescriptor, ...] | None = None
        if body:
            self.body_fields = () if body == "*" else resolve_path(descriptor, tuple(body.split(".")))
        self._raw = raw_target(descriptor, self.body_fields)
        self.raw_body = self._raw is not None
        """The body is taken as bytes, of any type."""
        self._filename = _filename_field(descriptor, method_rules.multipart.filename_field, decoder)
        if method_rules.HasField("multipart") and not self.raw_body:
            raise ValueError("multipart needs a body that is a google.api.HttpBody or a field with raw_body")
        self._into = decoder.into(descriptor, supplied)
        # The body's field is set like a member of that name.
        body_field = self.body_fields[-1] if self.body_fields else None
        self._member = decoder.member(body_field) if body_field is not None else None
        self._parse = decoder.parser(
            descriptor if body_field is None else cast(Descriptor, body_field.containing_type),
            field=body_field,
            ignore_trailing_text=service_rules.ignore_trailing_text,
            max_depth=max_depth,
        )
        self._mask = mask_field(descriptor) if http_method in ("PATCH", "PUT") else None
        self._not_in_mask = supplied | {path[0] for path, _ in paths if len(path) == 1}
        self._strict_paths = (
            body != "" and service_rules.unknown_fields != options.UNKNOWN_NAMES_IGNORE and not self.raw_body
        )
        # The commonest path variables are set as they are: texts of which nobody else has a say.
        self._checked_paths = [(path, target) for path, target in paths if self._strict_paths or not target.plain]
        self._plain_paths = [(path[0], path) for path, target in paths if target.plain and not self._strict_paths]
        self._query = QueryBinder(
            descriptor,
            decoder,
            body=None
            if self.body_fields is None or query_beside_body
            else tuple(field.name for field in self.body_fields),
            path_fields=frozenset(path for path, _ in paths),
            supplied=supplied,
            ignore_unknown=service_rules.unknown_query == options.UNKNOWN_NAMES_IGNORE or _takes_raw_query(descriptor),
            also_known=also_known,
        )

    def new(self) -> Any:
        """An empty request."""
        return self._new()

    def bind(self, request: HttpRequest, variables: dict[tuple[str, ...], str], body: bytes) -> Any:
        """The request message; raises ``Failure`` (400, 415) naming what does not fit."""
        message: Any = self._new()
        value = self._bind_body(message, request, body) if body or self.body_fields is not None else None
        if variables or self._supplied or request.raw_query:
            self._bind_rest(message, request, variables)
        if self._mask is not None and value is not None and not message.HasField(self._mask.name):
            self._fill_mask(message, value)
        if self._is_endless:
            self._check_levels(message, request.raw_query, body)
        return message

    def bind_head(self, request: HttpRequest, variables: dict[tuple[str, ...], str]) -> Any:
        """What path, query and headers say, without the body: the part that the messages of a client stream share."""
        message: Any = self._new()
        self._bind_rest(message, request, variables)
        self._check_levels(message, request.raw_query, b"")
        return message

    def bind_part(self, head: Any, request: HttpRequest, part: bytes) -> Any:
        """One message of a client stream: a JSON value, or a piece of a raw body, over what ``bind_head`` made."""
        message: Any = self._new()
        self._bind_body(message, request, part)
        message.MergeFrom(head)
        self._check_levels(message, "", part)
        return message

    def bind_piece(self, head: Any, piece: bytes, content_type: str) -> Any:
        """One message of a client stream: a piece of a raw body of a type of its own, over what ``bind_head`` made."""
        assert self._raw is not None
        message: Any = self._new()
        self._raw(message, piece, content_type)
        message.MergeFrom(head)
        return message

    def bind_end(self, head: Any) -> Any:
        """The message behind the last, of a client stream with a field for its end."""
        message: Any = self._new()
        message.MergeFrom(head)
        setattr(message, self.end, True)
        return message

    def bind_form_field(self, head: Any, name: str, text: str) -> None:
        """A field of a form, like a query parameter."""
        self._query.bind_one(head, name, text)

    def bind_filename(self, head: Any, name: str) -> None:
        """The file name of an uploaded part."""
        if self._filename is not None:
            self._filename.put(head, [name])

    @cached_property
    def _is_endless(self) -> bool:
        return self._decoder.depth(self.descriptor) > _SHALLOW

    def _check_levels(self, message: Any, query: str, body: bytes) -> None:
        """400 for a request of more levels than protobuf reads: a server behind a channel could not have it."""
        in_body = self._raw is None and body.count(b"{") + body.count(b"[") > _SHALLOW
        if not (in_body or len(query) > 2 * _SHALLOW) or not self._is_endless:
            return
        try:
            self._new().MergeFromString(message.SerializePartialToString())
        except DecodeError:
            if in_body:
                raise refusal(Reason.BODY_MALFORMED, "the body is nested too deeply") from None
            raise refusal(Reason.QUERY_INVALID, "the query nests too deeply") from None

    def _bind_rest(self, message: Any, request: HttpRequest, variables: dict[tuple[str, ...], str]) -> None:
        for name, path in self._plain_paths:
            setattr(message, name, variables[path])
        for path, target in self._checked_paths:
            self._bind_path(message, target, variables[path])
        if request.raw_query:
            self._query.bind(message, request.raw_query)
        for supplied in self._supplied:
            supplied.bind(message, request)

    def _bind_body(self, message: Any, request: HttpRequest, body: bytes) -> Any:
        """Merges the body; returns its parsed value, None where there is none."""
        if self.body_fields is None:
            if body and not self._rules.ignore_unbound_body:
                raise refusal(Reason.BODY_UNEXPECTED, "this request takes no body")
            return None
        if not body and self._body_required:
            raise refusal(Reason.BODY_REQUIRED, "the body is empty")
        if self._raw is not None:
            self._raw(message, body, request.header("content-type") or "")
            return None
        if self._non_json_as_empty:
            if not body or not _is_json(request.header("content-type") or ""):
                body = b"{}"
        elif request.first.get(b"content-type") != b"application/json":
            self.check_media_type(request, body)
        try:
            try:
                return self._decode_body(message, body)
            except NotJson:
                if not self._non_json_as_empty:
                    raise
                return self._decode_body(message, b"{}")
        except Refused as refused:
            root = ".".join(field.name for field in self.body_fields)
            raise from_refused(refused, root="" if refused.bare and not refused.path else root) from None

    def _decode_body(self, message: Any, body: bytes) -> Any:
        assert self.body_fields is not None
        if not body:
            last = self.body_fields[-1] if self.body_fields else None
            if last is not None and schema.is_message(last) and not last.is_repeated:
                getattr(self._body_owner(message), last.name).SetInParent()
            return None
        value = self._parse(body)
        if self._member is None:
            self._into(message, value)
            return value
        _, null_is_value, put = self._member
        if value is not None or null_is_value:
            put(self._body_owner(message), value)
        return value

    def check_media_type(self, request: HttpRequest, body: bytes) -> None:
        """415 unless the body is JSON, says nothing of its type, or the service takes any."""
        given = request.header("content-type")
        if not given or not body or self._rules.any_content_type or _is_json(given):
            return
        raise refusal(
            Reason.MEDIA_TYPE_UNSUPPORTED,
            f"the body must be application/json, not {given.partition(';')[0].strip().lower()[:64]}",
            http_status=415,
        )

    def _bind_path(self, message: Any, target: TextField, text: str) -> None:
        name = ".".join(field.name for field in target.fields)
        before = _value_if_set(message, target) if self._strict_paths else None
        try:
            check_oneofs(message, target)
            target.put(message, [text])
        except Refused as refused:
            raise from_refused(refused, root=name) from None
        if before is not None and before != getattr(target.owner(message), target.field.name):
            raise refusal(Reason.FIELD_CONFLICT, f"{name}: the path and the body name it differently", field_path=name)

    def _fill_mask(self, message: Any, value: Any) -> None:
        assert self._mask is not None and self.body_fields is not None
        if not self.body_fields:
            paths = mask_paths(value, self.descriptor, but=self._not_in_mask | {self._mask.name})
        elif schema.is_message(self.body_fields[-1]):
            paths = mask_paths(value, schema.message_type(self.body_fields[-1]))
        else:
            return
        getattr(message, self._mask.name).paths.extend(paths)

    def _body_owner(self, message: Any) -> Any:
        assert self.body_fields is not None
        for field in self.body_fields[:-1]:
            message = getattr(message, field.name)
            message.SetInParent()
        return message


def _path_field(descriptor: Descriptor, path: tuple[str, ...], decoder: Decoder) -> TextField:
    fields = resolve_path(descriptor, path)
    if fields[-1].is_repeated:
        raise ValueError(f"path variable {'.'.join(path)} is repeated in {descriptor.full_name}")
    try:
        return as_text_field(fields, decoder)
    except Refused as refused:
        raise ValueError(f"path variable {'.'.join(path)} of {descriptor.full_name} {refused}") from None


def _value_if_set(message: Any, target: TextField) -> Any:
    """What the body gave a field; None when nothing."""
    for field in target.fields[:-1]:
        if not message.HasField(field.name):
            return None
        message = getattr(message, field.name)
    field = target.field
    if field.has_presence:
        if not message.HasField(field.name):
            return None
    elif getattr(message, field.name) == field.default_value:
        return None
    value = getattr(message, field.name)
    if schema.is_message(field):
        copy = type(value)()
        copy.CopyFrom(value)
        return copy
    return value


def _filename_field(descriptor: Descriptor, path: str, decoder: Decoder) -> TextField | None:
    return _path_field(descriptor, tuple(path.split(".")), decoder) if path else None


def _takes_raw_query(descriptor: Descriptor) -> bool:
    return any(schema.field_rules(field).from_request == options.REQUEST_PART_QUERY for field in descriptor.fields)


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in _JSON_TYPES or media_type.endswith("+json")
