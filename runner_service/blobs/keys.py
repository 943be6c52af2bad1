"""Keys of blobs, the same for every place they are kept in."""

from __future__ import annotations

import re

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"
_KEY = re.compile(rf"[A-Za-z0-9_-]+/[A-Za-z0-9]{{2}}/{_PART}(/{_PART})*")
"""``kind/aa/name``: no part is empty, starts with a dot, or is longer than a file name may be."""


def is_key(text: str) -> bool:
    """Tells whether it is of the form ``kind/aa/name``."""
    return len(text) <= 1000 and _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """Returns ``key``, or raises ValueError when it is not of the form ``kind/aa/name``."""
    if not is_key(key):
        raise ValueError(f"a blob's key has the form kind/aa/name, not {key!r}")
    return key
