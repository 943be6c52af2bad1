"""``Accept`` → the framing of a stream."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import Reason, refusal
from runner.gateway.v1 import options_pb2 as options

MEDIA_TYPES: dict[int, str] = {
    options.STREAM_MODE_SSE: "text/event-stream",
    options.STREAM_MODE_NDJSON: "application/x-ndjson",
    options.STREAM_MODE_ARRAY: "application/json",
    options.STREAM_MODE_RAW: "application/octet-stream",
}
# Other names by which clients ask for the same framing.
_ALSO = {"application/ndjson": "application/x-ndjson", "application/jsonl": "application/x-ndjson"}


def negotiate(accept: str | None, modes: Sequence[int]) -> int:
    """The best framing of ``modes`` (best first) for an ``Accept`` header; ``Failure`` (406) when none fits.

    A raw stream may be of any media type, known only once it has begun: it fits every range that names no
    other framing.
    """
    if not accept:
        return modes[0]
    ranges = _ranges(accept)
    best, best_quality = 0, 0.0
    for mode in modes:
        quality = _quality(mode, ranges)
        if quality > best_quality:
            best, best_quality = mode, quality
    if not best:
        names = ", ".join(MEDIA_TYPES[mode] for mode in modes)
        raise refusal(Reason.NOT_ACCEPTABLE, f"this stream is served as {names}", http_status=406)
    return best


def _ranges(accept: str) -> list[tuple[str, float]]:
    ranges = []
    for item in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if media_range:
            ranges.append((_ALSO.get(media_range, media_range), quality))
    return ranges


def _quality(mode: int, ranges: list[tuple[str, float]]) -> float:
    """The quality that the most specific matching range gives a framing; 0: not acceptable."""
    specific, quality = -1, 0.0
    for media_range, given in ranges:
        rank = _rank(mode, media_range)
        if rank == 0:
            continue
        if rank > specific or (rank == specific and given > quality):
            specific, quality = rank, given
    return quality


def _rank(mode: int, media_range: str) -> int:
    """How exactly a media range names a framing; 0: not at all."""
    media_type = MEDIA_TYPES[mode]
    if media_range == "*/*":
        return 1
    if media_range.endswith("/*"):
        return 2 if mode == options.STREAM_MODE_RAW or media_type.startswith(media_range[:-1]) else 0
    if mode == options.STREAM_MODE_RAW:
        return 3 if media_range == media_type or media_range not in MEDIA_TYPES.values() else 0
    return 3 if media_range == media_type else 0
