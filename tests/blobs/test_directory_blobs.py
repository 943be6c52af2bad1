"""Blobs as files."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runner_service.blobs import DirectoryBlobs
from runner_service.domain.errors import StorageFull
from runner_service.ports.blobs import BlobNotFound, Blobs

KEY = "logs/ab/0190-x.zst"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return DirectoryBlobs(tmp_path / "blobs")


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


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
async def test_a_key_of_another_form_is_refused(blobs: Blobs, tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="kind/aa/name"):
        await blobs.put(key, pieces(b"x"))
    with pytest.raises(ValueError, match="kind/aa/name"):
        await blobs.delete(key)
    assert files(tmp_path) == []


async def test_when_the_data_fails_nothing_is_stored(blobs: Blobs, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        await blobs.put(KEY, broken())
    assert files(tmp_path) == []


async def test_a_cancelled_put_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    started = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(blobs.put(KEY, endless()))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert files(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here (needs root and mount)")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_full_disk_is_said_and_leaves_nothing(small_disk: Path) -> None:
    blobs = DirectoryBlobs(small_disk)
    with pytest.raises(StorageFull):
        await blobs.put(KEY, pieces(*[b"x" * 100_000] * 30))
    assert files(small_disk) == []
    assert await blobs.put(KEY, pieces(b"small")) == 5


async def test_leftovers_of_a_crash_are_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".incoming").mkdir()
    (tmp_path / ".incoming" / "half").write_bytes(b"x")
    blobs = DirectoryBlobs(tmp_path)
    await blobs.put(KEY, pieces(b"x"))
    assert files(tmp_path) == [KEY]


async def test_many_at_once(blobs: Blobs) -> None:
    keys = [f"artifacts/{number:02x}/{number}" for number in range(20)]
    await asyncio.gather(*(blobs.put(key, pieces(key.encode())) for key in keys))
    assert await asyncio.gather(*(blobs.read(key, 0, 99) for key in keys)) == [key.encode() for key in keys]
