"""What else the OpenAPI document tells: forms, plain texts, WebSockets, limits, parameters that stand for headers."""

from __future__ import annotations

from typing import Any

import habits_pb2_grpc
import pytest
from habit_servicer import Habits
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import Gateway, GatewayOptions, HandlerCapture


@pytest.fixture
def document() -> dict[str, Any]:
    captured = HandlerCapture()
    habits_pb2_grpc.add_HabitServiceServicer_to_server(Habits(), captured)
    return Gateway(handlers=captured, options=GatewayOptions(rpc_routes=True)).openapi()


def test_it_is_valid_and_lists_no_rpc_routes(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert not [path for path in document["paths"] if "HabitService" in path]


def test_forms_have_their_parts_and_fields(document: dict[str, Any]) -> None:
    body = document["paths"]["/h/files/{name}"]["post"]["requestBody"]
    assert body["required"] is True
    (form,) = body["content"].values()
    assert set(form["schema"]["properties"]) == {"file", "filename", "number"}
    assert form["schema"]["required"] == ["file"]
    alone = document["paths"]["/h/files/{name}"]["put"]["requestBody"]
    assert set(alone["content"]) == {"multipart/form-data", "*/*"}
    assert "data" in alone["content"]["multipart/form-data"]["schema"]["properties"]


def test_texts_and_bytes_have_their_types(document: dict[str, Any]) -> None:
    version = document["paths"]["/h/version"]["get"]["responses"]["200"]["content"]
    assert version == {"text/html; charset=utf-8": {"schema": {"type": "string"}}}
    assert set(document["paths"]["/h/bytes/{name}"]["post"]["requestBody"]["content"]) == {"*/*"}
    assert set(document["paths"]["/h/shape"]["get"]["responses"]) == {
        "200",
        "204",
        "206",
        "304",
        "400",
        "416",
        "504",
        "default",
    }


def test_websockets_tell_their_frames(document: dict[str, Any]) -> None:
    talk = document["paths"]["/h/talk/{room}"]["get"]
    frame = {"$ref": "#/components/schemas/test.habits.v1.Frame"}
    assert talk["x-websocket"] == {"receive": frame, "send": frame}
    assert set(talk["responses"]) == {"101", "400", "426", "504", "default"}
    assert "requestBody" not in talk
    assert {(each["in"], each["name"]) for each in talk["parameters"]} >= {("path", "room"), ("query", "token")}


def test_errors_and_their_statuses_are_the_declared_ones(document: dict[str, Any]) -> None:
    failures = document["paths"]["/h/fail/{reason}"]["get"]["responses"]
    assert {"410", "418", "default"} <= set(failures)
    (shape,) = failures["default"]["content"].values()
    assert shape["schema"]["properties"] == {"detail": {}, "message": {"type": "string"}}
