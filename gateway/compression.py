"""Replies in gzip or zstd, where the client takes it and it pays. Never streams: an event would wait for a block."""

from __future__ import annotations

import zlib

import zstandard

from gateway.request import Headers, HttpRequest

_COMPRESSIBLE = ("application/json", "application/javascript", "application/xml", "image/svg+xml")
_GZIP_LEVEL = 4  # most of what the highest saves, in a third of its time
_ZSTD_LEVEL = 3
_zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)


def compressed(request: HttpRequest, body: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """The body and headers to send. Says ``Vary`` for whatever could be compressed, so that caches keep both apart."""
    given = dict(headers)
    if "content-encoding" in given or "content-range" in given or not _is_compressible(given.get("content-type", "")):
        return body, headers
    others = [each for each in headers if each[0] != "vary"]
    vary = ", ".join(filter(None, [given.get("vary"), "Accept-Encoding"]))
    coding = _chosen(request.header("accept-encoding") or "")
    if not coding:
        return body, [*others, ("vary", vary)]
    if coding == "zstd":
        packed = _zstd.compress(body)
    else:
        packer = zlib.compressobj(_GZIP_LEVEL, wbits=31)
        packed = packer.compress(body) + packer.flush()
    # A strong ETag is of the bytes as they are sent.
    named = [(name, _weak(value) if name == "etag" else value) for name, value in others]
    return packed, [*named, ("content-encoding", coding), ("vary", vary)]


def _is_compressible(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type.startswith("text/") or media_type in _COMPRESSIBLE or media_type.endswith(("+json", "+xml"))


def _chosen(accepted: str) -> str:
    """``zstd``, ``gzip`` or nothing; what the client likes best, zstd among equals."""
    qualities = {}
    for item in accepted.lower().split(","):
        name, _, parameters = item.partition(";")
        qualities[name.strip()] = _quality(parameters)
    best = max(("zstd", "gzip"), key=lambda name: qualities.get(name, qualities.get("*", 0.0)))
    return best if qualities.get(best, qualities.get("*", 0.0)) > 0 else ""


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _weak(etag: str) -> str:
    return etag if etag.startswith("W/") else f"W/{etag}"
