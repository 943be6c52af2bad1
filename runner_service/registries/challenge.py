"""The ``WWW-Authenticate`` header by which a registry says how it wants to be asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry asks for."""

    scheme: str
    """``bearer`` or ``basic``."""
    parameters: Mapping[str, str]


def parse_challenge(header: str) -> Challenge | None:
    """The challenge in a header; ``None`` for a scheme that is not known here."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() not in ("bearer", "basic"):
        return None
    found = _PARAMETER.findall(rest)
    return Challenge(
        scheme.lower(), {name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in found}
    )
