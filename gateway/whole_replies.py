"""An extension of ASGI, of our own: a reply that is all there goes to the server as one message.

ASGI has a message for the head of a reply and others for its body, and servers write each as it comes: two system calls
for the server, and two packets that wake the client. A server that knows this extension says so in the scope
(``scope["extensions"]``, under ``WHOLE_REPLY``), and takes, in place of those two, one message ::

    {"type": WHOLE_REPLY, "status": 200, "head": b"content-type: …\\r\\n…\\r\\n", "body": b"…"}

``head`` is the header lines with the end of each, the framing among them; that none of them breaks out is the
application's to see to (``pair``). ``body`` is empty where a reply has none, HEAD's included. All else goes as ASGI has
it, also to this server; to one that does not offer the extension, everything does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

WHOLE_REPLY = "gateway.http.whole_reply"
"""The name of the extension, and the type of its message."""
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as the lines of a head."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


@functools.lru_cache(maxsize=256)
def pair(header: tuple[str, str]) -> tuple[bytes, bytes]:
    """A header as ASGI has it; raises ``ValueError`` for what would break out of its line."""
    name, value = header
    if not _NAME.fullmatch(name) or _CONTROLS.search(value):
        raise ValueError(f"{header!r} is no header")
    try:
        return name.encode("latin-1"), value.encode("latin-1")
    except UnicodeEncodeError:
        return name.encode("latin-1"), value.encode()
