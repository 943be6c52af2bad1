"""WebSocket frames as RFC 6455 forbids and allows them, written byte by byte to the server as the product has it."""

from __future__ import annotations

import asyncio
import contextlib
import struct

from gateway_servicers import Library, capture
from harness import Raw

from gateway import Gateway, GatewayOptions
from runner_service.http import HttpServer

SHAKE = (
    b"GET /v1/rooms/a/chat HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CONTINUED, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9
BYE = b'{"text": "bye"}'
"""Has the servicer end: 1000."""


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True, rsv: int = 0, says: int = -1) -> bytes:
    length = len(payload) if says < 0 else says
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if length < 126:
        head += bytes([mask << 7 | length])
    elif length < 65_536:
        head += bytes([mask << 7 | 126]) + struct.pack(">H", length)
    else:
        head += bytes([mask << 7 | 127]) + struct.pack(">Q", length)
    return head + (bytes(4) if mask else b"") + payload  # a mask of zeros changes nothing


ROWS = [
    ([frame(TEXT, BYE)], 1000, "one frame"),
    ([frame(BINARY, BYE)], 1000, "JSON is JSON"),
    (
        [frame(TEXT, BYE[:5], fin=False), frame(PING, b"p"), frame(CONTINUED, BYE[5:])],
        1000,
        "fragments, a ping between",
    ),
    (
        [frame(TEXT, b"", fin=False), *(frame(CONTINUED, BYE[i : i + 1], fin=False) for i in range(15)), frame(0, b"")],
        1000,
        "a byte in each fragment",
    ),
    ([frame(PING, b"x") * 2000, frame(TEXT, BYE)], 1000, "a flood of pings is answered"),
    ([frame(CLOSE, struct.pack(">H", 1000))], 1000, "who closes is closed"),
    ([frame(TEXT, BYE, mask=False)], 1002, "a client masks"),
    ([frame(TEXT, BYE, rsv=2)], 1002, "nobody agreed on that bit"),
    ([frame(3, b"x")], 1002, "there is no such kind"),
    ([frame(CONTINUED, b"x")], 1002, "nothing was begun"),
    ([frame(TEXT, b"a", fin=False), frame(TEXT, b"b")], 1002, "something was begun"),
    ([frame(PING, b"x" * 126)], 1002, "too long for a ping"),
    ([frame(PING, b"x", fin=False)], 1002, "a ping in pieces"),
    ([frame(CLOSE, struct.pack(">H", 1005))], 1002, "a code that nobody may send"),
    ([frame(TEXT, b"\xff\xfe")], 1007, "no UTF-8"),
    ([frame(TEXT, b"{")], 1008, "no JSON"),
    ([frame(TEXT, b"x" * 1001)], 1009, "over the cap"),
    ([frame(TEXT, b"x" * 600, fin=False), frame(CONTINUED, b"x" * 600)], 1009, "over the cap in pieces"),
    ([frame(TEXT, b"x", says=2**40)], 1009, "announced larger than anything"),
]


async def close_code(port: int, frames: list[bytes]) -> int:
    """What the connection is closed with."""
    raw = await Raw.dial(port)
    raw.writer.write(SHAKE)
    await raw.until(b"\r\n\r\n")
    raw.writer.write(b"".join(frames))
    code = 0
    with contextlib.suppress(asyncio.IncompleteReadError):
        while not code:
            opcode, length = await raw.reader.readexactly(2)
            payload = await raw.reader.readexactly(length)
            if opcode & 15 == CLOSE:
                (code,) = struct.unpack(">H", payload[:2])
    await raw.close()
    return code


async def test_what_frames_of_this_shape_get(library: Library) -> None:
    http = HttpServer(Gateway(handlers=capture(library), options=GatewayOptions(max_body_bytes=1000)))
    port = int((await http.listen("127.0.0.1:0")).rpartition(":")[2])
    await http.start()
    try:
        got = [await asyncio.wait_for(close_code(port, frames), timeout=60) for frames, _, _ in ROWS]
    finally:
        await http.stop(grace=1)
    assert got == [code for _, code, _ in ROWS], [
        why for (_, code, why), found in zip(ROWS, got, strict=True) if code != found
    ]
