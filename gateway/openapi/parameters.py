"""Paths, and the parameters of operations: what path, query, headers and cookies may hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.codec import schema
from gateway.endpoints import Endpoint
from gateway.fields import resolve_path
from gateway.masks import FIELD_MASK
from gateway.openapi.schemas import Schema, Schemas
from gateway.template import MANY, Template

_MAX_NESTING = 3  # how deep query parameters are listed into nested messages


def path_names(template: Template) -> tuple[str, list[str]]:
    """The OpenAPI form of a template, and the names of its parameters, one per wildcard.

    A variable of several wildcards, ``{name=shelves/*/books/*}``, has a parameter for each, as
    OpenAPI's parameters can't hold slashes.
    """
    names: dict[int, str] = {}
    for variable in template.variables:
        wildcards = [i for i in range(variable.start, variable.end) if template.segments[i].kind]
        for number, index in enumerate(wildcards, 1):
            name = ".".join(variable.path)
            names[index] = f"{name}_{number}" if len(wildcards) > 1 else name
    parts, order = [], []
    for index, segment in enumerate(template.segments):
        if not segment.kind:
            parts.append(segment.literal)
            continue
        name = names.get(index, f"wildcard_{index}")
        order.append(name)
        parts.append(f"{{{name}}}")
    path = "/" + "/".join(parts)
    return (f"{path}:{template.verb}" if template.verb is not None else path), order


def parameters(endpoint: Endpoint, names: list[str], schemas: Schemas) -> list[dict[str, Any]]:
    """All parameters of an operation; ``names`` are those of its path."""
    listed = [*_path(endpoint, names, schemas), *_supplied(endpoint, schemas)]
    seen = {(each["in"], each["name"]) for each in listed}
    for each in [*query_fields(endpoint, schemas), *_stand_ins(endpoint)]:
        if ("query", each["name"]) not in seen:
            seen.add(("query", each["name"]))
            listed.append(each)
    when = endpoint.rules.when
    if when.query and ("query", when.query) not in seen:
        values = {"enum": list(when.values)} if when.values else {}
        listed.append({"name": when.query, "in": "query", "schema": {"type": "string", **values}})
    return listed


def _path(endpoint: Endpoint, names: list[str], schemas: Schemas) -> Iterator[dict[str, Any]]:
    template, request = endpoint.template, endpoint.method.input_type
    wildcards = [index for index, segment in enumerate(template.segments) if segment.kind]
    for name, index in zip(names, wildcards, strict=True):
        made: Schema = {"type": "string"}
        for variable in template.variables:
            if variable.start <= index < variable.end and variable.single:
                field = resolve_path(request, variable.path)[-1]
                made = schemas.field(field, _owner(field), endpoint.service.encoder)
        parameter = {"name": name, "in": "path", "required": True, **_described(made)}
        if template.segments[index].kind == MANY:
            parameter["description"] = "May hold slashes."
        yield parameter


def _supplied(endpoint: Endpoint, schemas: Schemas) -> Iterator[dict[str, Any]]:
    for field in endpoint.method.input_type.fields:
        rules = schema.field_rules(field)
        if rules.from_header or rules.from_cookie:
            made = schemas.field(field, _owner(field), endpoint.service.encoder)
            place = "header" if rules.from_header else "cookie"
            yield {"name": rules.from_header or rules.from_cookie, "in": place, **_described(made)}


def _stand_ins(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for each in endpoint.query_metadata:
        comment = f"Stands for the header {each.metadata}, for clients that can't set one."
        yield {"name": each.query, "in": "query", "schema": {"type": "string"}, "description": comment}


def query_fields(endpoint: Endpoint, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """The fields of a request that a query (or a form) may fill."""
    body = endpoint.binder.body_fields
    if body == () and not endpoint.websocket_only:
        return
    taken = {variable.path for variable in endpoint.template.variables}
    if body:
        taken.add(tuple(field.name for field in body))
    yield from _fields(endpoint, (endpoint.method.input_type,), (), "", taken, schemas)


def _fields(
    endpoint: Endpoint,
    types: tuple[Descriptor, ...],
    path: tuple[str, ...],
    prefix: str,
    taken: set[tuple[str, ...]],
    schemas: Schemas,
) -> Iterator[dict[str, Any]]:
    """The fields of the last of ``types``; a type inside itself is not listed again."""
    descriptor = types[-1]
    for field in descriptor.fields:
        rules, here = schema.field_rules(field), (*path, field.name)
        if here in taken or (not path and (rules.from_header or rules.from_cookie or rules.from_request)):
            continue
        name = prefix + endpoint.service.encoder.name_of(field)
        if _nests(field):
            inner = schema.message_type(field)
            if not field.is_repeated and len(here) < _MAX_NESTING and inner not in types:
                yield from _fields(endpoint, (*types, inner), here, f"{name}.", taken, schemas)
            continue
        made = schemas.field(field, descriptor, endpoint.service.encoder)
        parameter = {"name": name, "in": "query", **_described(made)}
        if schema.map_value(field) is not None:
            parameter |= {"style": "deepObject", "explode": True}
        elif field.is_repeated:
            parameter |= {"style": "form", "explode": not rules.csv}
        yield parameter


def _nests(field: FieldDescriptor) -> bool:
    """Messages that a query fills member by member."""
    if not schema.is_message(field) or schema.map_value(field) is not None:
        return False
    name = schema.message_type(field).full_name
    return not (name.startswith("google.protobuf.") or name == FIELD_MASK)


def _owner(field: FieldDescriptor) -> Descriptor:
    owner = field.containing_type
    assert owner is not None
    return owner


def _described(made: Schema) -> dict[str, Any]:
    """A parameter's schema, its comment moved to where parameters have theirs."""
    bare = {name: value for name, value in made.items() if name != "description"}
    comment = made.get("description")
    return {"schema": bare, "description": comment} if comment else {"schema": bare}
