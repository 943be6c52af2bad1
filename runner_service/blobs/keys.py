"""Keys of blobs, the same for every place they are kept in."""

from __future__ import annotations

import re

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}"
_KEY = re.compile(rf"[A-Za-z0-9_-]+/[A-Za-z0-9]{{2}}/{_PART}(/{_PART})*")
"""``kind/aa/name``: no part is empty, starts with a dot, or is longer than a file name may be."""


def check_key(key: str) -> str:
    """Returns ``key``, or raises ValueError when it is not of the form ``kind/aa/name``."""
    if len(key) > 1000 or _KEY.fullmatch(key) is None:
        raise ValueError(f"a blob's key has the form kind/aa/name, not {key!r}")
    return key
