"""How a service wants its JSON: the part of its rules that changes what the codec does."""

from __future__ import annotations

from dataclasses import dataclass

from runner.gateway.v1 import options_pb2 as options


@dataclass(frozen=True, slots=True)
class Style:
    """Codec settings; two services with equal styles share one compiled codec."""

    proto_names: bool = False
    """Members of replies are spelled as in the proto file instead of lowerCamelCase."""
    empty: int = options.EMPTY_VALUE_UNSPECIFIED
    """What stands for an empty member, where neither its field nor its message says."""
    integer_numbers: bool = False
    """64-bit integers are JSON numbers in replies."""
    timestamp_digits: int = 0
    """Fractional digits of timestamps; 0: as many as needed, in threes."""
    ignore_unknown: bool = False
    """Members that the message does not have are skipped."""
    strict_types: bool = False
    """JSON types are taken literally."""

    @classmethod
    def of(cls, rules: options.ServiceRules) -> Style:
        """The style that a service declares."""
        return cls(
            proto_names=rules.json_names == options.JSON_NAMES_PROTO,
            empty=rules.empty,
            integer_numbers=rules.integer_numbers,
            timestamp_digits=rules.timestamp_digits,
            ignore_unknown=rules.unknown_fields == options.UNKNOWN_NAMES_IGNORE,
            strict_types=rules.strict_types,
        )
