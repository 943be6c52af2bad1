"""ProtoJSON compiled per message type: messages ↔ JSON in a service's style.

``google.protobuf.json_format`` is the oracle (tests compare against it over generated messages); this
codec differs from it on purpose in these ways:

- a 32-bit float may be up to half a unit above FLT_MAX in text, so that FLT_MAX round-trips;
- integers as strings take no underscores and no surrounding space, and enums no digits in strings;
- base64 that is not base64 is refused, and so are field mask paths that are none;
- an unknown enum name is refused also when unknown members are ignored;
- durations and timestamps take 1 to 9 fractional digits, timestamps also ``t`` and ``z``;
- a type unknown inside an Any prints as base64 instead of failing.
"""

from gateway.codec.decode import Decoder
from gateway.codec.encode import Encoder
from gateway.codec.errors import NotJson, Refused
from gateway.codec.style import Style

__all__ = ["Decoder", "Encoder", "NotJson", "Refused", "Style"]
