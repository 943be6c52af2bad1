"""Rate limits: windows, buckets, and what is said of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gateway.admission import Admission
from gateway.errors import Failure
from gateway.metadata import Metadatum
from runner.gateway.v1 import options_pb2
from runner_service.admission import admission
from runner_service.rpc.access import Caller, Gatekeeper, Rule
from runner_service.rpc.interceptors import GuardInterceptor
from runner_service.rpc.limiter import Limiter, address_of
from runner_service.rpc.rate_limits import RateLimits
from runner_service.services.auth import ApiKey, Auth, Role

START = 1_700_000_000
DOCUMENTED = {"registration": 10, "status": 100, "submission": 50, "bulk": 5}


class Clock:
    def __init__(self) -> None:
        self.seconds = float(START)

    def now(self) -> int:
        return int(self.seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _limiter(clock: Clock, **rules: str) -> Limiter:
    auth = Auth(keys=[ApiKey.of("key", name="ann", role=Role.ADMIN)], workers=None)  # type: ignore[arg-type]
    gatekeeper = Gatekeeper(
        auth=auth,
        rules={f"/s.S/{name}": Rule(options_pb2.ACCESS_OPTIONAL, Role.VIEWER, named) for name, named in rules.items()},
        require_auth=False,
        insecure=False,
    )
    return Limiter(limits=RateLimits(DOCUMENTED, clock=clock), gatekeeper=gatekeeper)


def test_a_window_begins_with_its_first_request_and_ends_after_a_minute(clock: Clock) -> None:
    limits = RateLimits({"status": 3}, clock=clock)
    clock.seconds += 0.5
    standings = []
    for _ in range(4):
        standings.append(limits.hit("status", "a"))
        clock.seconds += 10
    assert [(one.remaining, one.exceeded) for one in standings] == [(2, False), (1, False), (0, False), (0, True)]
    assert {(one.limit, one.reset_at) for one in standings} == {(3, START + 61)}
    assert standings[-1].retry_after == 30
    assert dict(standings[-1].headers()) == {
        "x-ratelimit-limit": "3",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(START + 61),
    }
    error = standings[-1].error()
    assert str(error) == "Rate limit of 3 requests per 60 seconds exceeded"
    assert error.metadata == {"limit": "3", "window_seconds": "60", "retry_after_seconds": "30"}
    assert error.retry_after == 30
    clock.seconds = START + 60.4
    assert limits.hit("status", "a").exceeded
    clock.seconds = START + 60.5
    assert (limits.hit("status", "a").remaining, limits.hit("status", "b").remaining) == (2, 2)


def test_classes_have_buckets_of_their_own_and_zero_is_no_limit(clock: Clock) -> None:
    limits = RateLimits({"status": 1, "bulk": 1, "submission": 0}, clock=clock)
    assert not limits.hit("status", "a").exceeded
    assert not limits.hit("bulk", "a").exceeded
    assert [limits.limits(name) for name in ("status", "submission", "other")] == [True, False, False]


def test_the_table_of_buckets_is_bounded_and_forgets_the_oldest_window(clock: Clock) -> None:
    limits = RateLimits({"status": 1}, clock=clock, most_buckets=3)
    for key in "abcd":
        limits.hit("status", key)
        clock.seconds += 1
    assert [limits.hit("status", key).exceeded for key in "bcd"] == [True, True, True]
    assert not limits.hit("status", "a").exceeded, "forgotten"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:[::1]:5000", "[::1]"),
        ("ipv6:%5B::1%5D:5000", "%5B::1%5D"),
        ("unix:", "unix:"),
    ],
)
def test_the_port_of_a_caller_does_not_count(peer: str, address: str) -> None:
    assert address_of(peer) == address


async def test_each_class_counts_by_what_it_is_for(clock: Clock) -> None:
    limiter = _limiter(clock, Register="registration", Status="status", Bulk="bulk", Free="")
    assert not limiter.limits("/s.S/Free") and not limiter.limits("/s.S/Unknown")

    async def left(method: str, resource: str = "", **caller: Any) -> int:
        caller.setdefault("peer", "ipv4:127.0.0.1:1")
        return (await limiter.hit(f"/s.S/{method}", Caller(**caller), resource=resource)).remaining

    assert [await left("Register", peer=f"ipv4:127.0.0.1:{port}") for port in (1, 2)] == [9, 8]
    assert await left("Register", peer="ipv4:127.0.0.2:1") == 9
    assert [await left("Status", "one"), await left("Status", "two"), await left("Status", "one")] == [99, 99, 98]
    assert [await left("Bulk"), await left("Bulk")] == [4, 3]
    assert await left("Bulk", authorization="Bearer key") == 4
    assert await left("Bulk", authorization="Bearer key", peer="ipv4:127.0.0.9:1") == 3, "whoever it comes from"
    assert await left("Bulk", authorization="Bearer nonsense") == 2, "a bad credential is nobody's"


def test_a_class_that_nobody_defines_is_an_error_at_start(clock: Clock) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        _limiter(clock, Method="nonsense")


def _asked(rpc: str, **variables: str) -> Admission:
    return Admission(
        method=None,  # type: ignore[arg-type]
        rules=options_pb2.MethodRules(),
        service_rules=options_pb2.ServiceRules(),
        rpc=rpc,
        route="GET /",
        variables=variables,
        peer="ipv4:127.0.0.1:1",
        client="127.0.0.1",
        request=None,  # type: ignore[arg-type]
        metadata=[Metadatum("host", "localhost")],
    )


async def test_the_gateway_says_how_a_bucket_stands_and_refuses_what_is_over(clock: Clock) -> None:
    admit = admission(_limiter(clock, Register="registration", Free=""))
    free = _asked("/s.S/Free")
    await admit(free)
    assert free.reply_headers == []
    for number in range(10):
        asked = _asked("/s.S/Register")
        await admit(asked)
        assert dict(asked.reply_headers)["x-ratelimit-remaining"] == str(9 - number)
    asked = _asked("/s.S/Register")
    with pytest.raises(Failure) as refused:
        await admit(asked)
    assert dict(asked.reply_headers)["x-ratelimit-remaining"] == "0"
    assert (refused.value.reason, refused.value.status_name) == ("RATE_LIMITED", "RESOURCE_EXHAUSTED")
    assert refused.value.metadata["retry_after_seconds"] == "60"
    assert ("retry-after", "60") in refused.value.headers


@pytest.fixture
async def channel(clock: Clock) -> AsyncIterator[grpc.aio.Channel]:
    async def answer(request: bytes, context: Any) -> bytes:
        return request

    limiter = _limiter(clock, Bulk="bulk")
    server = grpc.aio.server(interceptors=[GuardInterceptor(limiter._gatekeeper, limiter=limiter)])
    handlers = {"Bulk": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("s.S", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(0)


async def test_the_grpc_port_counts_too(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary("/s.S/Bulk")
    for _ in range(5):
        assert await call(b"x", timeout=60) == b"x"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"x", timeout=60)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = rpc_status.from_call(refused.value)
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.seconds == 60
