"""Who the client is, behind proxies and behind people who say they are one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.forwarded import Proxies

PROXIES = Proxies(["10.0.0.0/8", "::1"])


def through(peer: tuple[str, int] | None, **headers: str) -> dict[str, Any]:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": peer, "scheme": "http", "headers": [(b"host", b"inside"), *given]}
    return PROXIES.seen_through(scope)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param("10.0.0.1", "203.0.113.9", "203.0.113.9", id="one proxy"),
        pytest.param("10.0.0.1", "203.0.113.9, 10.9.9.9", "203.0.113.9", id="two proxies"),
        pytest.param("10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9", id="the client made an entry up"),
        pytest.param("10.0.0.1", "10.1.1.1", "10.1.1.1", id="a proxy's own call"),
        pytest.param("10.0.0.1", "nonsense", "10.0.0.1", id="no address"),
        pytest.param("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1", id="what is before nonsense is not believed"),
        pytest.param("10.0.0.1", "203.0.113.9:4711", "203.0.113.9", id="with a port"),
        pytest.param("::1", "[2001:db8::1]:4711", "2001:db8::1", id="IPv6 with a port"),
        pytest.param("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9", id="a proxy seen through IPv6"),
        pytest.param("203.0.113.5", "127.0.0.1", "203.0.113.5", id="nobody trusts this peer"),
        pytest.param("10.0.0.1", "", "10.0.0.1", id="nothing forwarded"),
    ],
)
def test_the_client_is_the_last_that_no_trusted_proxy_is_known_by(peer: str, forwarded: str, client: str) -> None:
    assert through((peer, 1), x_forwarded_for=forwarded)["client"][0] == client


def test_scheme_and_host_come_from_trusted_proxies_only() -> None:
    trusted = through(("10.0.0.1", 1), x_forwarded_proto="https", x_forwarded_host="api.example")
    assert (trusted["scheme"], dict(trusted["headers"])[b"host"]) == ("https", b"api.example")
    stranger = through(("203.0.113.5", 1), x_forwarded_proto="https", x_forwarded_host="api.example")
    assert (stranger["scheme"], dict(stranger["headers"])[b"host"]) == ("http", b"inside")


def test_a_unix_socket_is_a_proxys() -> None:
    assert through(None, x_forwarded_for="203.0.113.9")["client"] == ("203.0.113.9", 0)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        Proxies(["proxy.local"])
