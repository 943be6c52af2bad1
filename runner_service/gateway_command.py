"""``runner gateway``: the REST side of any gRPC server, as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc import aio

from gateway import DEFAULT_ALLOWED, Channel, Gateway, GatewayOptions, ReflectionError, pool_of, reflected
from runner_client import __version__
from runner_service.domain.own_log import write_own_log
from runner_service.http import READINESS_PATH, HttpBindError, HttpServer

EXIT_CANNOT_SERVE = 1
DRAIN_SECONDS = 5.0
ADVICE = "name a gRPC server by --upstream, with --tls if it speaks TLS; one without reflection needs --descriptor-set"


def gateway(argv: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code."""
    options = _parser().parse_args(argv)
    write_own_log(options.log_level)
    import uvloop

    return uvloop.run(_serve(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="runner gateway",
        description="Serves REST for a gRPC server that runs elsewhere, by its google.api.http annotations. What is "
        "served it learns by reflection.",
    )
    add = parser.add_argument
    add("--upstream", required=True, metavar="HOST:PORT", help="the gRPC server; unix:PATH for a socket")
    add("--http", action="append", metavar="HOST:PORT", help="HTTP listener; repeatable (default: 127.0.0.1:8080)")
    add("--descriptor-set", type=Path, metavar="FILE", help="a FileDescriptorSet with imports, in place of reflection")
    add("--service", action="append", metavar="NAME", help="full name of a service to serve; repeatable (default: all)")
    add("--tls", action="store_true", help="speak TLS with the server, checked with well-known roots")
    add("--tls-ca", type=Path, metavar="FILE", help="speak TLS with it, checked with the certificates in this file")
    add("--title", default="API", help="of the OpenAPI document")
    add("--cors-origin", action="append", default=[], metavar="ORIGIN", help="may call from browsers; repeatable")
    add(
        "--trusted-proxy", action="append", default=[], metavar="NETWORK", help="whose X-Forwarded headers are believed"
    )
    add("--rpc-routes", action="store_true", help="serve unary RPCs at POST /package.Service/Method too")
    add("--max-body-bytes", type=int, default=1 << 20, metavar="N", help="of a request (default: 1 MiB)")
    add("--max-timeout", type=float, metavar="SECONDS", help="of a call that streams nothing; 504 beyond it")
    add("--header", action="append", default=[], metavar="NAME", help="of requests that becomes metadata; repeatable")
    add("--reply-header", action="append", default=[], metavar="NAME", help="metadata that becomes one; repeatable")
    add("--log-level", default="info", choices=["debug", "info", "warn", "error"], help="(default: info)")
    return parser


async def _serve(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with _opened(options) as (app, http, addresses):
            print(f"gateway is ready: {' '.join(addresses)} for {options.upstream}", flush=True)  # noqa: T201
            await stop.wait()
            app.drain()
            await http.stop(grace=DRAIN_SECONDS)
    except ReflectionError as error:
        print(f"runner: {options.upstream}: {error} — {ADVICE}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_SERVE
    except (HttpBindError, OSError, ValueError) as error:
        print(f"runner: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_CANNOT_SERVE
    return 0


def _descriptors(path: Path) -> tuple[bytes, DescriptorPool, list[str]]:
    """The bytes of a descriptor set, a pool of it and the names of its services. Raises ``ValueError`` for a file that
    is none."""
    try:
        data = path.read_bytes()
        return data, *pool_of(data)
    except OSError as error:
        raise ValueError(f"cannot read the descriptor set {path}: {error.strerror}") from None
    except (DecodeError, TypeError):
        raise ValueError(
            f"{path} is no descriptor set with imports: make one by protoc --include_imports --descriptor_set_out"
        ) from None


@asynccontextmanager
async def _opened(options: argparse.Namespace) -> AsyncIterator[tuple[Gateway, HttpServer, list[str]]]:
    async with _channel(options) as channel:
        descriptors: bytes | None = None
        if options.descriptor_set is not None:
            descriptors, pool, services = _descriptors(options.descriptor_set)
            services = options.service or services
        else:
            pool, services = await reflected(channel, options.service or ())
        app = Gateway(
            backend=Channel(channel, pool),
            services=services,
            pool=pool,
            descriptors=descriptors,
            options=GatewayOptions(
                title=options.title,
                version=__version__,
                max_body_bytes=options.max_body_bytes,
                max_timeout_seconds=options.max_timeout,
                allowed_headers=DEFAULT_ALLOWED
                | {"origin", "sec-fetch-site", "x-forwarded-for", "forwarded", "x-real-ip", "via"}
                | {each.lower() for each in options.header},
                reply_metadata=frozenset(each.lower() for each in options.reply_header),
                readiness_path=READINESS_PATH,
                rpc_routes=options.rpc_routes,
                cors_origins=tuple(options.cors_origin),
                trusted_proxies=tuple(options.trusted_proxy),
            ),
        )
        http = HttpServer(app)
        addresses = [f"http://{await http.listen(address)}" for address in options.http or ["127.0.0.1:8080"]]
        await http.start()
        try:
            yield app, http, addresses
        finally:
            await http.stop(grace=0)


def _channel(options: argparse.Namespace) -> Any:
    # Replies may be as large as the server lets them be: the cap is its own.
    settings = [("grpc.max_receive_message_length", -1)]
    if options.tls_ca is None and not options.tls:
        return aio.insecure_channel(options.upstream, options=settings)
    import grpc

    roots = options.tls_ca.read_bytes() if options.tls_ca is not None else None
    return aio.secure_channel(options.upstream, grpc.ssl_channel_credentials(roots), options=settings)
