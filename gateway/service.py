"""A gRPC service as HTTP sees it: its rules, codec and error envelope; and whose a path is that no RPC has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from gateway.codec import Decoder, Encoder
from gateway.envelope import Envelope, ErrorRule, status_envelope
from runner.gateway.v1 import options_pb2 as options


@dataclass(frozen=True, slots=True)
class Service:
    """One gRPC service, and how it answers."""

    descriptor: ServiceDescriptor
    rules: options.ServiceRules
    encoder: Encoder
    decoder: Decoder
    envelope: Envelope
    error_rules: tuple[ErrorRule, ...]
    any_origin: bool
    """``CorsRules.any_origin``, read once: it is asked for on every reply."""

    @classmethod
    def of(cls, descriptor: ServiceDescriptor, encoder: Encoder, decoder: Decoder) -> Service:
        """Compiles what a service declares; raises ``ValueError`` for an envelope that is none."""
        rules = descriptor.GetOptions().Extensions[options.service]
        newline = rules.json_newline
        if rules.HasField("error_envelope"):
            envelope = Envelope(rules.error_envelope, encoder, newline=newline)
        else:
            envelope = status_envelope(rules.json_media_type, newline=newline)
        errors = tuple(ErrorRule(rule, encoder, newline=newline) for rule in rules.errors)
        return cls(descriptor, rules, encoder, decoder, envelope, errors, rules.cors.any_origin)

    @property
    def json_media_type(self) -> str:
        """Media type of JSON replies."""
        return self.rules.json_media_type or "application/json"


class Owners:
    """Which service answers for a path that no RPC has: the longest prefix of whole segments that one owns."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._prefixes: dict[tuple[str, ...], Service] = {}
        for service in services:
            for prefix in service.rules.owns_prefix:
                self._prefixes[_segments(prefix)] = service

    def of(self, path: str) -> Service | None:
        """The owner of a path; None when nobody owns it."""
        segments = _segments(path)
        for end in range(len(segments), -1, -1):
            service = self._prefixes.get(segments[:end])
            if service is not None:
                return service
        return None


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/")) if path.strip("/") else ()
