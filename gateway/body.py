"""Reading request bodies, under a cap."""

from __future__ import annotations

import zlib

from google.rpc import code_pb2

from gateway.departure import ClientLeft, Receive
from gateway.errors import Failure, Reason, refusal
from gateway.request import HttpRequest


def too_large(limit: int) -> Failure:
    """413: over the cap, whether announced or found while reading."""
    return refusal(
        Reason.BODY_TOO_LARGE,
        f"the body is larger than {limit} bytes",
        code=code_pb2.RESOURCE_EXHAUSTED,
        http_status=413,
        limit=str(limit),
    )


async def read_body(request: HttpRequest, receive: Receive, limit: int) -> bytes:
    """The whole body of a request that has one, inflated when it came as gzip.

    Raises ``Failure`` (413, before anything is read when Content-Length says so; 415 for other encodings) and
    ``ClientLeft``.
    """
    is_gzip = b"content-encoding" in request.first and _is_gzip(request)
    length = request.first.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > limit:
        raise too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientLeft
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _whole(body, receive, limit)
    if len(body) > limit:
        raise too_large(limit)
    return _inflated(body, limit) if is_gzip and body else body


def has_body(request: HttpRequest) -> bool:
    """Whether a body follows the headers: requests without one need not be read at all."""
    first = request.first
    return first.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in first


def _is_gzip(request: HttpRequest) -> bool:
    encoding = (request.header("content-encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise refusal(
            Reason.MEDIA_TYPE_UNSUPPORTED, f"Content-Encoding {encoding[:32]} is not supported", http_status=415
        )
    return encoding == "gzip"


async def _whole(first: bytes, receive: Receive, limit: int) -> bytes:
    """The rest of a body after its first piece, too; ends when it is over the limit."""
    chunks, size, more = [first], len(first), True
    while more and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        more = message.get("more_body", False)
    return b"".join(chunks)


def _inflated(body: bytes, limit: int) -> bytes:
    inflated = b""
    while body:  # gzip may have several members, one behind the other
        inflater = zlib.decompressobj(wbits=31)
        try:
            # One byte more than allowed tells a bomb from a body of exactly the cap.
            inflated += inflater.decompress(body, limit + 1 - len(inflated))
        except zlib.error:
            raise refusal(Reason.BODY_MALFORMED, "the body is not gzip") from None
        if len(inflated) > limit:
            raise too_large(limit)
        if not inflater.eof:
            raise refusal(Reason.BODY_MALFORMED, "the body is cut gzip")
        body = inflater.unused_data
    return inflated
