"""Percent-decoding, strict: an escape that is none, or bytes that are not UTF-8, are the client's error."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SLASH = re.compile("(%2[Ff])")


class EscapeError(ValueError):
    """``%zz``, a cut escape, or bytes that are not UTF-8."""


def decode(text: str) -> str:
    """Decodes once; text without ``%`` comes back as it is."""
    if "%" not in text and text.isascii():
        return text
    if _BAD_ESCAPE.search(text):
        raise EscapeError("an invalid percent escape")
    try:
        # latin-1: raw bytes that a client left unescaped have come this far as code points.
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise EscapeError("text that is not UTF-8") from None


def decode_keeping_slashes(text: str) -> str:
    """As ``decode``, but ``%2F`` stays: in a value of several segments it is no separator."""
    if "%" not in text:
        return decode(text)
    return "".join(part if _SLASH.fullmatch(part) else decode(part) for part in _SLASH.split(text))


def decode_query(text: str) -> str:
    """Decodes a name or value of a query, where ``+`` is a space."""
    return decode(text.replace("+", " ")) if "+" in text else decode(text)
