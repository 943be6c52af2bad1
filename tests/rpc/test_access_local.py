"""Which calls count as coming from this machine."""

from __future__ import annotations

import pytest

from runner_service.rpc.access import is_local
from runner_service.rpc.callers import caller_of


@pytest.mark.parametrize(
    ("peer", "listener", "host", "local"),
    [
        pytest.param("unix:", None, None, True, id="a unix socket"),
        pytest.param("ipv4:127.0.0.1:5000", None, None, True, id="gRPC on loopback"),
        pytest.param("ipv6:%5B::1%5D:5000", None, None, True, id="gRPC on IPv6 loopback"),
        pytest.param("ipv6:[::ffff:127.0.0.1]:5000", None, None, True, id="loopback as a dual-stack listener sees it"),
        pytest.param("ipv4:192.0.2.7:5000", None, None, False, id="another machine"),
        pytest.param("ipv6:[2001:db8::1]:5000", None, None, False, id="another machine by IPv6"),
        pytest.param("ipv4:127.0.0.1:5000", "127.0.0.1:8080", "localhost:8080", True, id="curl localhost"),
        pytest.param("ipv4:127.0.0.1:5000", "127.0.0.1:8080", "127.0.0.1:8080", True, id="curl by address"),
        pytest.param("ipv4:127.0.0.1:5000", "127.0.0.1:8080", "[::1]:8080", True, id="curl by IPv6 address"),
        pytest.param("ipv4:127.0.0.1:5000", "127.0.0.1:8080", "app.localhost", True, id="a name below localhost"),
        pytest.param("ipv4:127.0.0.1:5000", "127.0.0.1:8080", "LOCALHOST.", True, id="case and final dot do not count"),
        pytest.param("ipv4:127.0.0.1:5000", "127.0.0.1:8080", "evil.example:8080", False, id="DNS rebinding"),
        pytest.param("ipv4:127.0.0.1:5000", "127.0.0.1:8080", "notlocalhost", False, id="only looks like it"),
        pytest.param("ipv4:127.0.0.1:5000", "192.0.2.1:8080", "192.0.2.1:8080", False, id="a listener off loopback"),
        pytest.param("nonsense", None, None, False, id="what is not understood is not trusted"),
    ],
)
def test_what_is_local(peer: str, listener: str | None, host: str | None, local: bool) -> None:
    assert is_local(peer, listener, host) is local


def test_an_address_of_ipv6_is_one_caller_by_grpc_and_by_http() -> None:
    assert caller_of((), "ipv6:%5B::1%5D:5000") == caller_of((), "ipv6:[::1]:5000")
    assert caller_of((), "unix:/a%5Bb").peer == "unix:/a%5Bb"
