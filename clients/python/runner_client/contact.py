"""Why there is no first contact: what gRPC knows and does not tell."""

from __future__ import annotations

import asyncio
import ssl
from enum import Enum, auto

from runner_client.channel import Tls

_SECONDS = 5.0
"""For one handshake."""
_VERDICT_SECONDS = 1.0
"""For the first word behind it."""
_NOT_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""What OpenSSL makes of an answer in plain text."""
_ANOTHER_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


class Speech(Enum):
    """What a server speaks."""

    UNKNOWN = auto()
    """It cannot be reached, or says nothing that tells."""
    PLAIN = auto()
    TLS = auto()


async def misunderstanding(target: str, tls: Tls | None) -> str:
    """Says in a sentence why a server that is there can't be understood, and what to change; empty when all seems well
    or nothing is known. ``target`` is HOST:PORT. Takes up to ten seconds, a moment as a rule."""
    speech, _ = await _shake_hands(target, _unchecked())
    if speech is Speech.UNKNOWN:
        return ""
    if speech is Speech.PLAIN:
        return "" if tls is None else f"The server at {target} does not speak TLS: leave out --tls and --tls-ca."
    if tls is None:
        return (
            f"The server at {target} speaks TLS: give --tls-ca FILE, the certificates that it is checked with, "
            "or --tls if one of the well-known authorities has signed its own."
        )
    try:
        checking = ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError:
        return f"There are no certificates in {tls.ca}: give a file in PEM form by --tls-ca."
    _, problem = await _shake_hands(target, checking)
    if problem is not None:
        what = f"The certificate of the server at {target} is not accepted ({problem.verify_message.rstrip('.')})"
        if problem.verify_code in _ANOTHER_NAME:
            return f"{what}: call the server by a name that stands there."
        return f"{what}: give --tls-ca FILE, the certificates that it is to be checked with."
    return ""


async def unwelcome(target: str, tls: Tls | None) -> str:
    """Says in a sentence what a server may want that accepts a connection over TLS and hangs up at once; empty for
    others. A guess: something in between may have hung up. ``target`` is HOST:PORT. Takes up to six seconds."""
    if tls is None or tls.certificate is not None:
        return ""
    host, _, port = target.rpartition(":")
    context = _unchecked()
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, TimeoutError, ValueError):
        return ""
    try:
        # A gRPC server has the first word, but with who has to show a certificate and does not.
        async with asyncio.timeout(_VERDICT_SECONDS):
            hung_up = not await reader.read(1)
    except TimeoutError:
        hung_up = False
    except OSError:
        hung_up = True
    finally:
        writer.transport.abort()
    if not hung_up:
        return ""
    return (
        f"The server at {target} hangs up: if it lets only those in who show a certificate, "
        "give --tls-cert FILE and --tls-key FILE."
    )


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _shake_hands(target: str, context: ssl.SSLContext) -> tuple[Speech, ssl.SSLCertVerificationError | None]:
    """What the server speaks, and what is wrong with its certificate if the context checks it."""
    host, _, port = target.rpartition(":")
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except ssl.SSLCertVerificationError as error:
        return Speech.TLS, error
    except ssl.SSLError as error:
        return (Speech.PLAIN if error.reason in _NOT_TLS else Speech.UNKNOWN), None
    except (OSError, TimeoutError, ValueError):
        return Speech.UNKNOWN, None
    writer.transport.abort()
    return Speech.TLS, None
