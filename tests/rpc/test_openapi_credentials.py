"""The document says of each API the credentials that its form takes."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.catalog import Catalog
from gateway.openapi import document
from gateway.options import GatewayOptions
from runner.dialects.rustci.v1 import runner_service_pb2 as rustci
from runner.dialects.sct.v1 import command_service_pb2 as sct
from runner.dialects.sentinelstacks.v1 import agent_service_pb2 as sentinel
from runner.dialects.testflinger.v1 import access_service_pb2 as access
from runner.dialects.testflinger.v1 import queue_service_pb2 as queues
from runner.v1 import job_service_pb2 as jobs


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    modules = (rustci, sct, sentinel, access, queues, jobs)
    names = [service.full_name for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    return document(Catalog(names, GatewayOptions()), GatewayOptions())


def test_the_schemes_are_valid(told: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(told).validate()
    assert set(told["components"]["securitySchemes"]) == {"apiKey", "basic", "bearer", "rawToken", "tokenInQuery"}


@pytest.mark.parametrize(
    ("path", "method", "schemes", "why"),
    [
        ("/api/v2/jobs", "post", ["", "bearer"], "the native API: a key, or nothing on this machine"),
        ("/api/v1/commands", "post", ["bearer"], "SCT: always a key"),
        ("/api/runners/register", "post", ["", "bearer", "apiKey"], "RustCI: a JWT or X-API-Key"),
        ("/v1/queues/wait_times", "get", ["", "bearer", "rawToken"], "Testflinger: its token with or without a word"),
        ("/v1/oauth2/token", "post", ["basic"], "Testflinger: client and secret, where tokens are had"),
        ("/v1/oauth2/refresh", "post", None, "Testflinger: the token is in the body"),
        ("/v1/agents/{id}/chat", "get", ["", "bearer", "tokenInQuery"], "SentinelStacks: browsers open WebSockets"),
    ],
)
def test_each_api_names_what_it_takes(
    told: dict[str, Any], path: str, method: str, schemes: list[str] | None, why: str
) -> None:
    said = told["paths"][path][method].get("security")
    assert (said and ["".join(each) for each in said]) == schemes, why


def test_limited_operations_tell_their_headers(told: dict[str, Any]) -> None:
    for status, reply in told["paths"]["/api/runners/register"]["post"]["responses"].items():
        assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(reply["headers"]), status
    limited = told["paths"]["/api/runners/register"]["post"]["responses"]["429"]
    assert "Retry-After" in limited["headers"]
