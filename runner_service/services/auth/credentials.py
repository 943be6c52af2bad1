"""The ``Authorization`` header in its forms, read without judging it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum


class CredentialKind(StrEnum):
    """Forms of the header."""

    NONE = "none"
    """There is none, or it is empty."""
    BEARER = "bearer"
    """``Bearer TOKEN``."""
    BASIC = "basic"
    """``Basic base64(user:password)``, well formed."""
    BROKEN_BASIC = "broken_basic"
    """``Basic`` with something that does not decode, or has no colon."""
    RAW = "raw"
    """One word without a scheme: a bare token."""
    OTHER = "other"
    """Another scheme."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What was sent."""

    kind: CredentialKind
    token: str = ""
    """Of BEARER and RAW."""
    user: str = ""
    password: str = ""


_NONE = Credential(kind=CredentialKind.NONE)


def parse_authorization(header: str | None) -> Credential:
    """Reads the header; schemes in any case. Never raises."""
    text = (header or "").strip()
    if not text:
        return _NONE
    scheme, blank, rest = text.partition(" ")
    word = scheme.lower()
    if word == "bearer":
        return Credential(kind=CredentialKind.BEARER, token=rest.strip())
    if word == "basic":
        return _basic(rest.strip())
    if not blank:
        return Credential(kind=CredentialKind.RAW, token=text)
    return Credential(kind=CredentialKind.OTHER)


def _basic(encoded: str) -> Credential:
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return Credential(kind=CredentialKind.BROKEN_BASIC)
    if not colon:
        return Credential(kind=CredentialKind.BROKEN_BASIC)
    return Credential(kind=CredentialKind.BASIC, user=user, password=password)
