"""Why there is no first contact: what gRPC knows and does not tell."""

from __future__ import annotations

import asyncio
import ssl
from enum import Enum, auto

from runner_client.channel import Tls

_SECONDS = 5.0
"""For one handshake."""
_NOT_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""What OpenSSL makes of an answer in plain text."""


class Speech(Enum):
    """What a server speaks."""

    UNKNOWN = auto()
    """It cannot be reached, or says nothing that tells."""
    PLAIN = auto()
    TLS = auto()


async def misunderstanding(target: str, tls: Tls | None) -> str:
    """Says in a sentence why a server that is there can't be understood, and what to change; empty when all seems well
    or nothing is known. ``target`` is HOST:PORT."""
    speech, _ = await _shake_hands(target, _unchecked())
    if speech is Speech.TLS and tls is None:
        return (
            f"The server at {target} speaks TLS. Join with --tls-ca FILE, the certificates that it is checked with, "
            "or with --tls if one of the well-known authorities has signed its own."
        )
    if speech is Speech.PLAIN and tls is not None:
        return f"The server at {target} does not speak TLS. Join without --tls and --tls-ca."
    if speech is Speech.TLS and tls is not None:
        _, problem = await _shake_hands(target, ssl.create_default_context(cafile=tls.ca))
        if problem:
            return (
                f"The certificate of the server at {target} is not accepted ({problem}). "
                "Join with --tls-ca FILE, the certificates that it is to be checked with."
            )
    return ""


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _shake_hands(target: str, context: ssl.SSLContext) -> tuple[Speech, str]:
    """What the server speaks, and what is wrong with its certificate if the context checks it."""
    host, _, port = target.rpartition(":")
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except ssl.SSLCertVerificationError as error:
        return Speech.TLS, error.verify_message
    except ssl.SSLError as error:
        return (Speech.PLAIN if error.reason in _NOT_TLS else Speech.UNKNOWN), ""
    except (OSError, TimeoutError, ValueError):
        return Speech.UNKNOWN, ""
    writer.transport.abort()
    return Speech.TLS, ""
