"""What every place of blobs does, held to one suite: files, and objects of a real service that speaks S3."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest
from s3_server import NoS3, S3Server, s3_server

from runner_service.blobs import DirectoryBlobs, S3Blobs
from runner_service.blobs.s3 import PART_BYTES
from runner_service.domain.ids import new_id
from runner_service.ports.blobs import BlobNotFound, Blobs

KEY = "logs/ab/0190-x.zst"


@dataclass
class Place:
    """A place of blobs, and a look behind it."""

    blobs: Blobs
    names: Callable[[], list[str]]
    """Everything that is kept there."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    try:
        with s3_server(tmp_path_factory.mktemp("s3")) as server:
            yield server
    except NoS3 as error:
        pytest.skip(str(error))


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        blobs, root = DirectoryBlobs(tmp_path / "blobs"), tmp_path
        return Place(
            blobs, lambda: sorted(str(path.relative_to(root / "blobs")) for path in root.rglob("*") if path.is_file())
        )
    server: S3Server = request.getfixturevalue("s3")
    made = S3Blobs(server.bucket(f"s3://blobs/{new_id()}"))
    return Place(made, lambda: sorted(one["path"] for page in obstore.list(made._store) for one in page))


@pytest.fixture
def blobs(place: Place) -> Blobs:
    return place.blobs


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_blob_comes_back_whole_and_in_ranges(blobs: Blobs) -> None:
    data = os.urandom(3_000_000)
    assert await blobs.put(KEY, pieces(data[:10], b"", data[10:2_000_000], data[2_000_000:])) == len(data)
    assert await blobs.read(KEY, 0, len(data)) == data
    assert await blobs.read(KEY, 0, 1 << 40) == data
    assert await blobs.read(KEY, 1_999_999, 5) == data[1_999_999:2_000_004]
    assert await blobs.read(KEY, len(data) - 1, 9) == data[-1:]
    assert await blobs.read(KEY, len(data) + 5, 9) == b""
    assert await blobs.read(KEY, 0, 0) == b""


async def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    assert await blobs.put(KEY, pieces()) == 0
    assert await blobs.read(KEY, 0, 1) == b""


async def test_the_same_key_is_replaced(blobs: Blobs) -> None:
    await blobs.put(KEY, pieces(b"long ago"))
    assert await blobs.put(KEY, pieces(b"new")) == 3
    assert await blobs.read(KEY, 0, 99) == b"new"


async def test_what_is_not_there_is_not_found_and_may_be_deleted(blobs: Blobs) -> None:
    for key in (KEY, "logs/ab/x/y", "not a key", "../../etc/passwd"):
        with pytest.raises(BlobNotFound):
            await blobs.read(key, 0, 1)
    await blobs.put(KEY, pieces(b"x"))
    with pytest.raises(BlobNotFound):
        await blobs.read(f"{KEY}/below", 0, 1)
    for _ in range(2):
        await blobs.delete(KEY)
    with pytest.raises(BlobNotFound):
        await blobs.read(KEY, 0, 1)


@pytest.mark.parametrize(
    "key",
    [
        *("", "x", "a/b", "a/bb", "a/bbb/c", "/a/bb/c", "a/bb/", "a/bb/..", "a/../c", "a/bb/c/..", "a/bb/.hidden"),
        *("a/bb/c\n", "a/bb/ü", "a/bb/c\x00", "a/bb/" + "x" * 300, ".incoming/bb/c"),
    ],
)
async def test_a_key_of_another_form_is_refused(place: Place, key: str) -> None:
    with pytest.raises(ValueError, match="kind/aa/name"):
        await place.blobs.put(key, pieces(b"x"))
    with pytest.raises(ValueError, match="kind/aa/name"):
        await place.blobs.delete(key)
    assert place.names() == []


async def test_when_the_data_fails_nothing_is_stored(place: Place) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        await place.blobs.put(KEY, broken())
    assert place.names() == []


async def test_a_cancelled_put_leaves_nothing(place: Place) -> None:
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(place.blobs.put(KEY, endless()))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert place.names() == []


async def test_many_at_once(blobs: Blobs) -> None:
    keys = [f"artifacts/{number:02x}/{number}" for number in range(20)]
    await asyncio.gather(*(blobs.put(key, pieces(key.encode())) for key in keys))
    assert await asyncio.gather(*(blobs.read(key, 0, 99) for key in keys)) == [key.encode() for key in keys]


async def test_a_blob_of_many_parts(blobs: Blobs) -> None:
    data = os.urandom(PART_BYTES * 3 + 12_345)
    step = 65_537
    parts = (data[start : start + step] for start in range(0, len(data), step))
    assert await blobs.put(KEY, pieces(*parts)) == len(data)
    assert await blobs.read(KEY, 0, len(data)) == data
    at = PART_BYTES - 5
    assert await blobs.read(KEY, at, 10) == data[at : at + 10]


@pytest.mark.parametrize("size", [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1])
async def test_sizes_about_one_part(blobs: Blobs, size: int) -> None:
    data = os.urandom(size)
    assert await blobs.put(KEY, pieces(data)) == size
    assert await blobs.read(KEY, 0, size + 1) == data
    assert await blobs.read(KEY, size, 1) == b""


async def test_when_the_data_of_many_parts_fails_nothing_is_stored(place: Place) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1_000_000
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        await place.blobs.put(KEY, broken())
    assert place.names() == []


async def test_a_cancelled_put_of_many_parts_leaves_nothing(place: Place) -> None:
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1_000_000
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(place.blobs.put(KEY, endless()))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert place.names() == []


async def test_what_is_old_is_shown_by_its_kind(place: Place) -> None:
    keys = {f"artifacts/{number % 7:02x}/{number}" for number in range(30)} | {"artifacts/ab/c/d"}
    for key in [*keys, "images/aa/1"]:
        await place.blobs.put(key, pieces(b"x"))
    now = round(time.time() * 1e6)

    async def old(kind: str, before: int) -> list[str]:
        return [key async for group in place.blobs.old(kind, before=before) for key in group]

    assert sorted(await old("artifacts", now + 3600 * 10**6)) == sorted(keys)
    assert await old("artifacts", now - 3600 * 10**6) == []
    assert await old("images", now + 3600 * 10**6) == ["images/aa/1"]
    assert await old("image", now + 3600 * 10**6) == await old("logs", now + 3600 * 10**6) == []
