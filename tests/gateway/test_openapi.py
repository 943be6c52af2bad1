"""The OpenAPI document: valid, complete, and said from the very route table."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import Gateway


@pytest.fixture
def document(gateway: Gateway) -> dict[str, Any]:
    return gateway.openapi()


async def test_the_document_is_served_and_valid(client: httpx.AsyncClient, gateway: Gateway) -> None:
    reply = await client.get("/openapi.json")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == gateway.openapi()
    OpenAPIV31SpecValidator(reply.json()).validate()
    assert (await client.post("/openapi.json")).headers["allow"] == "GET, HEAD, OPTIONS"


def test_every_binding_that_openapi_can_say_is_there(document: dict[str, Any], gateway: Gateway) -> None:
    said = {method.upper() for item in document["paths"].values() for method in item}
    assert said == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    operations = sum(len(item) for item in document["paths"].values())
    purge, follow = 1, 1  # no word for the one; the other shares a path with its plain twin
    assert operations == len(gateway.catalog.endpoints) - purge - follow


def test_operations_carry_comments_parameters_and_errors(document: dict[str, Any]) -> None:
    listed = document["paths"]["/v1/books"]["get"]
    assert listed["summary"] == "Lists books."
    names = {each["name"]: each for each in listed["parameters"]}
    assert set(names) == {"pageSize", "subjects", "labels", "author.fullName", "author.born"}
    assert names["labels"]["style"] == "deepObject"
    assert names["pageSize"]["description"] == "At most so many."
    assert set(listed["responses"]) == {"200", "400", "504", "default"}
    assert document["paths"]["/v1/books/{name}"]["delete"]["responses"]["204"] == {"description": "Success."}
    assert "201" in document["paths"]["/v1/shelves/{shelf}/books"]["post"]["responses"]


def test_multi_segment_variables_have_a_parameter_per_wildcard(document: dict[str, Any]) -> None:
    item = document["paths"]["/v1/shelves/{name_1}/books/{name_2}"]["get"]
    assert [each["name"] for each in item["parameters"]] == ["name_1", "name_2"]


def test_streams_list_their_framings(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/books:watch"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream", "application/x-ndjson", "application/json"]
    merged = document["paths"]["/api/v9/commands/{job_id}/log"]["get"]
    assert "application/octet-stream" in merged["responses"]["200"]["content"]
    assert "follow" in {each["name"] for each in merged["parameters"]}


def test_schemas_follow_the_services_style(document: dict[str, Any]) -> None:
    command = document["components"]["schemas"]["test.facade.v1.Command"]["properties"]
    assert command["duration_ms"] == {"type": "integer", "format": "int64", "description": "How long it took."}
    assert "secret" not in command
    status = document["components"]["schemas"]["test.facade.v1.Status"]
    assert status["enum"] == ["STATUS_UNSPECIFIED", "queued", "running"]
    assert "- `queued`: Waits." in status["description"]
    posted = document["paths"]["/api/v9/commands"]["post"]
    assert {(each["in"], each["name"]) for each in posted["parameters"]} == {
        ("header", "Idempotency-Key"),
        ("cookie", "session"),
    }
    error = posted["responses"]["default"]["content"]["application/json; charset=utf-8"]["schema"]
    assert error == {"type": "object", "properties": {"error": {"type": "string"}, "message": {"type": "string"}}}


def test_self_recursive_messages_end_in_a_reference(document: dict[str, Any]) -> None:
    everything = document["components"]["schemas"]["test.everything.v1.Everything"]["properties"]
    assert everything["self"]["$ref"] == "#/components/schemas/test.everything.v1.Everything"
