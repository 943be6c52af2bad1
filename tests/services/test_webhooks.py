"""Where the service calls out to: the allow-list, what is never called, and that no name is resolved twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from runner_service.domain.errors import InvalidArgument, RunnerError, WebhookForbidden, WebhookUnreachable
from runner_service.domain.webhooks import allowed_hosts
from runner_service.outside import Network
from runner_service.ports.webhooks import Answer, Target
from runner_service.services.webhooks import MAX_ANSWER_BYTES, Webhooks


@dataclass
class Elsewhere:
    """An outside whose names are told by the test."""

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    resolved: list[str] = field(default_factory=list)
    called: list[Target] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[host]

    async def call(self, target: Target, **_: Any) -> Answer:
        self.called.append(target)
        return Answer(status=204, content_type="", body=b"")


NAMES = {
    "ci.example.com": ["192.0.2.7"],
    "metadata.example.com": ["169.254.169.254"],
    "mixed.example.com": ["169.254.169.254", "192.0.2.8"],
    "inside.example.com": ["10.1.2.3"],
    "localhost": ["127.0.0.1"],
}


@pytest.mark.parametrize(
    ("url", "allowed", "loopback", "address"),
    [
        # No list.
        ("http://ci.example.com/x", [], True, "192.0.2.7"),
        ("http://localhost:9/x", [], True, "127.0.0.1"),
        ("http://127.0.0.1:9", [], True, "127.0.0.1"),
        ("http://[::1]:9", [], True, "::1"),
        ("http://[::ffff:127.0.0.1]:9", [], True, "127.0.0.1"),
        ("http://mixed.example.com", [], True, "192.0.2.8"),
        ("http://169.254.169.254/latest", [], True, None),
        ("http://[fe80::1]/", [], True, None),
        ("http://[fe80::1%25eth0]/", [], True, None),
        ("http://[::ffff:169.254.169.254]/", [], True, None),
        ("http://[64:ff9b::a9fe:a9fe]/", [], True, None),
        ("http://[fd00:ec2::254]/", [], True, None),
        ("http://100.100.100.200/", [], True, None),
        ("http://224.0.0.1/", [], True, None),
        ("http://255.255.255.255/", [], True, None),
        ("http://metadata.example.com", [], True, None),
        ("http://ci.example.com", [], False, None),
        ("http://127.0.0.1:9", [], False, None),
        # A list holds wherever the service listens.
        ("http://ci.example.com", ["ci.example.com"], False, "192.0.2.7"),
        ("http://CI.example.com.", ["ci.example.com"], False, None),  # resolves to nothing below, but is allowed
        ("https://ci.example.com:8443", ["ci.example.com:8443"], False, "192.0.2.7"),
        ("https://ci.example.com", ["ci.example.com:8443"], False, None),
        ("http://ci.example.com", ["*.example.com"], True, "192.0.2.7"),
        ("http://example.com", ["*.example.com"], True, None),
        ("http://evilexample.com", ["*.example.com"], True, None),
        ("http://ci.example.com.evil", ["ci.example.com"], True, None),
        ("http://inside.example.com", ["10.0.0.0/8"], False, "10.1.2.3"),
        ("http://10.9.9.9", ["10.0.0.0/8"], False, "10.9.9.9"),
        ("http://ci.example.com", ["10.0.0.0/8"], False, None),
        ("http://10.9.9.9:81", ["10.0.0.0/8", "192.0.2.1"], True, "10.9.9.9"),
        ("http://10.9.9.9:81", ["10.9.9.9:80"], True, None),
        ("http://[2001:db8::1]:81", ["[2001:db8::1]:81"], True, "2001:db8::1"),
        # What is never called is not called by its listed name either.
        ("http://metadata.example.com", ["metadata.example.com"], True, None),
        ("http://169.254.169.254", ["169.254.0.0/16"], True, None),
    ],
)
async def test_where_may_be_called(url: str, allowed: list[str], loopback: bool, address: str | None) -> None:
    outside = Elsewhere(NAMES)
    webhooks = Webhooks(outside=outside, allowed=allowed_hosts(allowed), on_loopback=loopback)
    if address is None:
        with pytest.raises((WebhookForbidden, WebhookUnreachable)):
            await webhooks.send(url, b"{}")
        assert outside.called == []
        return
    assert (await webhooks.send(url, b"{}")).status == 204
    (target,) = outside.called
    assert target.address == address
    assert len(outside.resolved) <= 1, "a second answer of the name server could be another address"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ci.example.com",
        "ftp://ci.example.com",
        "file:///etc/passwd",
        "http://",
        "http://:80",
        "http://[::1",
        "http://ci.example.com:99999",
        "http://ci.example.com:x",
        "http://user:password@ci.example.com",
        "http://ci.example.com/a b",
        "http://ci.example.com/\r\nHost: x",
        "http://ci.example.com/ä",
    ],
)
async def test_what_is_no_url_of_http_is_refused(url: str) -> None:
    outside = Elsewhere(NAMES)
    with pytest.raises(InvalidArgument):
        await Webhooks(outside=outside, allowed=(), on_loopback=True).send(url, b"")
    assert outside.called == outside.resolved == []


async def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    with pytest.raises(WebhookUnreachable, match="Name or service not known"):
        await Webhooks(outside=Elsewhere(), allowed=(), on_loopback=True).send("http://nobody.example", b"")


@pytest.mark.parametrize("entry", ["", "*", "*.", "a/b", "user@host", "host:", "host:0", "host:x", "a*b"])
def test_a_list_that_cannot_be_read_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError):
        allowed_hosts([entry])


# over a real socket


@dataclass
class Peer:
    """An HTTP server whose answer the test writes."""

    port: int = 0
    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    asked: bytes = b""
    connections: int = 0
    silent: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self.asked = head + await reader.readexactly(length)
            if not self.silent:
                writer.write(self.answer)
                await writer.drain()
                writer.close()
            await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    yield peer
    server.close()


class Loopback(Network):
    """The network with one more name."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        assert host == "ci.example.com"
        return ["127.0.0.1"]


def _webhooks(outside: Any, **options: Any) -> Webhooks:
    return Webhooks(outside=outside, allowed=(), on_loopback=True, **options)


async def test_the_body_arrives_at_the_address_under_the_name(peer: Peer) -> None:
    answer = await _webhooks(Loopback()).send(f"http://ci.example.com:{peer.port}/hook?a=1", b'{"events":[]}')
    assert (answer.status, answer.body) == (200, b"ok")
    assert peer.asked.startswith(b"PUT /hook?a=1 HTTP/1.1\r\n")
    assert f"host: ci.example.com:{peer.port}".encode() in peer.asked.lower()
    assert b"content-type: application/json\r\n" in peer.asked.lower()
    assert peer.asked.endswith(b'\r\n\r\n{"events":[]}')


async def test_a_redirect_is_an_answer_and_not_followed(peer: Peer) -> None:
    peer.answer = f"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{peer.port}/\r\ncontent-length: 0\r\n\r\n".encode()
    assert (await _webhooks(Loopback()).send(f"http://ci.example.com:{peer.port}", b"{}")).status == 302
    assert peer.connections == 1


async def test_a_long_answer_is_cut_off(peer: Peer) -> None:
    peer.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000
    answer = await _webhooks(Loopback()).send(f"http://ci.example.com:{peer.port}", b"{}")
    assert len(answer.body) == MAX_ANSWER_BYTES


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", b""])
async def test_an_answer_that_is_no_http_is_unreachable_or_short(peer: Peer, answer: bytes) -> None:
    peer.answer = answer
    try:
        got = await _webhooks(Loopback()).send(f"http://ci.example.com:{peer.port}", b"{}")
    except RunnerError as error:
        assert isinstance(error, WebhookUnreachable)
    else:
        assert got.body == b"short"


async def test_a_silent_peer_is_left_in_time(peer: Peer) -> None:
    peer.silent = True
    with pytest.raises(WebhookUnreachable, match=r"within 0\.2 seconds"):
        await _webhooks(Loopback(), timeout_seconds=0.2).send(f"http://ci.example.com:{peer.port}", b"{}")


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(WebhookUnreachable, match="refused"):
        await _webhooks(Network()).send(f"http://127.0.0.1:{port}", b"{}")
