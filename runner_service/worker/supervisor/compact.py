"""JSON without a blank, by the encoder of the C library module alone: making one for each message, as `json` does,
costs more than what it does for most of ours."""

from __future__ import annotations

import json.encoder
from collections.abc import Callable
from typing import Any

_plain: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":")).encode


def _prepared() -> Callable[[Any], str]:
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _plain
    refuse = json.JSONEncoder().default  # Raises TypeError.
    pieces = make(None, refuse, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True)
    return lambda message: "".join(pieces(message, 0))


encode = _prepared()
"""The text of a message: of dictionaries, lists, strings and numbers, none of which holds itself."""
