"""multipart/form-data: whole, in pieces cut anywhere, and malformed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import habits_pb2_grpc
import httpx
import pytest
from checklist import covers
from habit_servicer import Habits
from harness import in_memory, made

from gateway import Failure
from gateway.multipart import MultipartReader, Part

TYPE = "multipart/form-data; boundary=xyz"


def form(*parts: tuple[str, bytes], end: bytes = b"--xyz--\r\n") -> bytes:
    """A form of parts, each the rest of its Content-Disposition (and further headers) and its content."""
    made = b""
    for head, content in parts:
        made += b"--xyz\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
    return made + end


@pytest.fixture
def habits() -> Habits:
    return Habits()


@pytest.fixture
async def client(habits: Habits, backend: str) -> AsyncIterator[httpx.AsyncClient]:
    def register(server: Any) -> None:
        habits_pb2_grpc.add_HabitServiceServicer_to_server(habits, server)

    async with made(backend, register) as gateway, in_memory(gateway) as client:
        yield client


async def test_a_file_arrives_in_pieces_of_64_kib_with_all_that_is_known(client: httpx.AsyncClient) -> None:
    content = bytes(range(256)) * 1000
    reply = await client.post(
        "/h/files/n", data={"number": "7"}, files={"file": ("f ü.bin", content, "application/x-own")}
    )
    assert reply.status_code == 200, reply.text
    report = reply.json()
    assert (report["name"], report["filename"], report["number"]) == ("n", "f ü.bin", 7)
    assert (report["contentType"], report["size"]) == ("application/x-own", 256_000)
    assert report["sha256"] == hashlib.sha256(content).hexdigest()
    assert (report["pieces"], report["largest"]) == (4, 65_536)


@pytest.mark.parametrize("step", [1, 3, 7, 64])
async def test_it_may_be_cut_anywhere(client: httpx.AsyncClient, step: int) -> None:
    content = b"--xyz\r\n--xy\r\n\r\n-\r\n--x\r\n\r--xyz \x00\xff\r"
    body = form(('name="file"; filename="f"', content), ('name="number"', b"5"))

    async def cut() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    reply = await client.post("/h/files/n", content=cut(), headers={"content-type": TYPE})
    assert reply.status_code == 200, reply.text
    assert (reply.json()["size"], reply.json()["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert reply.json()["number"] == 5, "a field after the file reaches the servicer too"


async def test_an_empty_file_is_a_file(client: httpx.AsyncClient) -> None:
    reply = await client.post("/h/files/n", files={"file": ("empty", b"")})
    assert (reply.json()["filename"], reply.json()["size"], reply.json()["pieces"]) == ("empty", 0, 1)


@covers("uploads")
@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        pytest.param(form(('name="other"', b"x")), TYPE, 400, "Bad Request", id="no such part"),
        pytest.param(form(), TYPE, 400, "Bad Request", id="no part at all"),
        pytest.param(b"x", "application/octet-stream", 400, "Bad Request", id="no form"),
        pytest.param(
            form(('name="file"', b"x"), end=b""), TYPE, 400, "the body is not multipart/form-data, or is cut", id="cut"
        ),
        pytest.param(b"", TYPE, 400, "the body is not multipart/form-data, or is cut", id="empty"),
        pytest.param(b"x", "multipart/form-data", 400, "the Content-Type has no usable boundary", id="no boundary"),
        pytest.param(form(('filename="f"', b"x")), TYPE, 400, "a part of the form has no name", id="no name"),
        pytest.param(
            form(('name="file"', b"x"), ('name="file"', b"y")), TYPE, 400, 'the form has two parts "file"', id="twice"
        ),
        pytest.param(
            form(('name="number"', b"x"), ('name="file"', b"y")),
            TYPE,
            400,
            'number: expected a 32-bit integer, got "x"',
            id="a field that does not fit",
        ),
        pytest.param(
            form(('name="number"', b"\xff"), ('name="file"', b"y")), TYPE, 400, "number: is not UTF-8", id="not UTF-8"
        ),
        pytest.param(
            form(('name="number"', b"1" * 70_000), ('name="file"', b"y")),
            TYPE,
            413,
            "the body is larger than 65536 bytes",
            id="a field that is a file",
        ),
        pytest.param(
            form(('name="file"', b"y" * 1_000_001)), TYPE, 413, "the body is larger than 1000000 bytes", id="too large"
        ),
        pytest.param(
            b"".join(form((f'name="n{number}"', b""), end=b"") for number in range(1001)),
            TYPE,
            400,
            "the form has more than 1000 parts",
            id="too many parts",
        ),
    ],
)
async def test_what_is_wrong_is_told(
    client: httpx.AsyncClient, body: bytes, content_type: str, status: int, message: str
) -> None:
    reply = await client.post("/h/files/n", content=body, headers={"content-type": content_type})
    assert (reply.status_code, reply.json()["message"]) == (status, message)


async def test_a_unary_rpc_takes_a_form_or_the_file_alone(client: httpx.AsyncClient) -> None:
    content = b"\x00\xff" * 50_000
    sent = await client.put("/h/files/n", files={"data": ("f", content, "x/y")}, data={"number": "3"})
    digest = hashlib.sha256(content).hexdigest()
    assert sent.status_code == 200, sent.text
    assert sent.json() == {
        "name": "n",
        "filename": "f",
        "number": 3,
        "contentType": "x/y",
        "size": 100_000,
        "sha256": digest,
        "pieces": 0,
        "largest": 0,
    }
    alone = await client.put("/h/files/n?number=4", content=content, headers={"content-type": "x/z"})
    assert (alone.json()["sha256"], alone.json()["contentType"], alone.json()["number"]) == (digest, "x/z", 4)
    assert (await client.put("/h/files/n", files={"file": ("f", b"")})).status_code == 400


def test_the_reader_tells_parts_pieces_and_ends() -> None:
    reader = MultipartReader('multipart/form-data; boundary="xyz"')
    body = form(('name="a"; filename="C:\\\\f"\r\nContent-Type: t/x', b"one"))
    events: list[Any] = []
    for byte in body:
        events += reader.push(bytes([byte]), last=False)
    events += reader.push(b"", last=True)
    assert events[0] == Part("a", "f", "t/x")
    assert (b"".join(event for event in events if isinstance(event, bytes)), events[-1]) == (b"one", None)


def test_what_follows_the_end_is_ignored_and_what_never_ends_is_refused() -> None:
    assert MultipartReader(TYPE).push(form(('name="a"', b"")) + b"epilogue", last=True)
    with pytest.raises(Failure, match="cut"):
        MultipartReader(TYPE).push(form(('name="a"', b""), end=b""), last=True)
