"""Blobs as files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runner_service.blobs import DirectoryBlobs
from runner_service.domain.errors import StorageFull

KEY = "logs/ab/0190-x.zst"


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


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


async def test_of_a_shared_directory_only_what_is_old_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".incoming").mkdir()
    old, new = tmp_path / ".incoming" / "old", tmp_path / ".incoming" / "new"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    DirectoryBlobs(tmp_path, shared=True)
    assert files(tmp_path) == [".incoming/new"]
