"""What was asked for is kept whole: every member of it, also for a server that has never seen the job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from store_house import make_job

from runner_service.domain.containers import Container
from runner_service.domain.jobs import JobSpec
from runner_service.store.rows import Body, decode_body, encode_body


def unlike(kind: Any, default: Any = None) -> Any:
    """A value of a type that is not the default one; of a dataclass, in all of its members."""
    if is_dataclass(kind) and isinstance(kind, type):
        types = get_type_hints(kind)
        return kind(**{one.name: unlike(types[one.name], one.default) for one in fields(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(one for one in reversed(kind) if one is not default)
    if get_origin(kind) is tuple:
        return (unlike(get_args(kind)[0]),)
    if get_origin(kind) is Mapping:
        return {"name": "value"}
    if NoneType in get_args(kind):
        return unlike(next(one for one in get_args(kind) if one is not NoneType))
    return {bool: default is not True, int: 77, float: 77.5, str: "word"}[kind]


def test_every_member_of_what_was_asked_for_is_kept() -> None:
    spec = unlike(JobSpec)
    assert all(getattr(spec, one.name) != one.default for one in fields(JobSpec))
    said = {"tags": {"a": "b"}, "annotations": {"c": "d"}, "request_id": "r", "created_by": "c", "retry_of": "o"}
    job = replace(make_job(), spec=spec, **said)
    assert decode_body(encode_body(job)) == Body(spec, **said)
    bare = make_job(spec={"container": Container(image="debian:12")})
    assert decode_body(encode_body(bare)) == Body(bare.spec, {}, {}, "", "", "")


def test_a_container_whose_image_was_not_kept_is_read_and_holds_up_no_other() -> None:
    body = json.dumps({"spec": {"steps": [], "container": {}}})
    assert decode_body(body).spec.container == Container(image="")
