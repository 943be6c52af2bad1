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
    MUTUAL_TLS = auto()
    """It hangs up on who shows no certificate: with others a gRPC server has the first word."""


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
    if speech is Speech.MUTUAL_TLS and tls.certificate is None:
        return f"The server at {target} hangs up on who shows no certificate: give --tls-cert FILE and --tls-key FILE."
    return ""


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
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except ssl.SSLCertVerificationError as error:
        return Speech.TLS, error
    except ssl.SSLError as error:
        return (Speech.PLAIN if error.reason in _NOT_TLS else Speech.UNKNOWN), None
    except (OSError, TimeoutError, ValueError):
        return Speech.UNKNOWN, None
    try:
        async with asyncio.timeout(_VERDICT_SECONDS):
            hung_up = not await reader.read(1)
    except TimeoutError:
        hung_up = False
    except OSError:
        hung_up = True
    finally:
        writer.transport.abort()
    return (Speech.MUTUAL_TLS if hung_up else Speech.TLS), None
