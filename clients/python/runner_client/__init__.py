"""Typed Python client of Runner Service.

::

    async with AsyncClient("127.0.0.1:50051", token="…") as client:
        command = await client.run(["make", "test"], timeout=600)
        async for message in client.follow(command.job_id):
            for record in message.records:
                ...

Messages are those of the contract (``runner.v1``); :mod:`runner_client.errors` has what can go wrong. Names are
loaded when they are first used, so that importing this package costs nothing and loads no gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner_client.channel import Tls
    from runner_client.client import AsyncClient
    from runner_client.errors import (
        AlreadyExists,
        ClientError,
        DeadlineExceeded,
        FailedPrecondition,
        FieldViolation,
        InvalidArgument,
        InvalidTarget,
        InvalidTls,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        ServerFault,
        Unauthenticated,
        Unavailable,
    )
    from runner_client.sync import Client

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "client",
    "Client": "sync",
    "Tls": "channel",
}
"""Which module a name lives in; those not listed live in ``errors``."""

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "Client",
    "ClientError",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "InvalidArgument",
    "InvalidTarget",
    "InvalidTls",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "ServerFault",
    "Tls",
    "Unauthenticated",
    "Unavailable",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
