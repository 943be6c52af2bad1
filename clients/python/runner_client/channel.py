"""How a server is dialled: the forms of a target, TLS, and channel options with their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc import aio

from runner_client import __version__
from runner_client.errors import InvalidTarget, InvalidTls

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_PORT = 50051

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.primary_user_agent", f"runner-client/{__version__}"),
    # gRPC's own pauses between dials start at 1 s and grow to 2 min; ours follow a server that restarts.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # In spite of its name: how long one dial may take, TLS included. A server that refuses is known at once.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Ends a stream whose peer is silently gone. Servers take pings oftener than every 5 min for an attack.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


@dataclass(frozen=True)
class Tls:
    """Speak TLS to the server.

    ``ca``: the PEM file its certificate is checked with; default: gRPC's own roots. ``certificate`` and ``key``: what
    this side shows to a server that demands one (mutual TLS).
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises `InvalidTls` when a file cannot be read, or one of two is missing."""
        if (self.certificate is None) != (self.key is None):
            raise InvalidTls("a certificate needs its key, and a key its certificate: give both")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.certificate))


def _read(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise InvalidTls(f"cannot read the certificates in {path}: {error.strerror}") from None


def parse_target(target: str) -> str:
    """Returns the gRPC target for ``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``."""
    if target.startswith("unix:"):
        if len(target) == len("unix:"):
            raise InvalidTarget("the address unix: names no path: write unix:PATH")
        return target
    if not target or "/" in target or any(character.isspace() for character in target):
        raise InvalidTarget(f"{target!r} is not an address of a server: write HOST:PORT or unix:PATH")
    if target.endswith("]") or ":" not in target:
        return f"{target}:{DEFAULT_PORT}"
    port = target.rpartition(":")[2]
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise InvalidTarget(f"{target!r} has no valid port: write HOST:PORT with a port from 1 to 65535")
    return target


def open_channel(target: str, tls: Tls | None) -> aio.Channel:
    """Opens a channel; nothing is dialled before the first call. Must be called inside a running loop."""
    address = parse_target(target)
    options = _OPTIONS
    if address.startswith(("unix:", "127.", "localhost:", "[::1]:")):
        # A proxy named in the environment is for the world outside, never for this machine.
        options = (*options, ("grpc.enable_http_proxy", 0))
    if tls is None:
        return aio.insecure_channel(address, options=options)
    return aio.secure_channel(address, tls.credentials(), options=options)
