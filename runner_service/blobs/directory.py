"""Blobs as files below a directory, each under its key."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO

from runner_service.blobs.keys import check_key, is_key
from runner_service.domain.errors import StorageFull
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Micros
from runner_service.ports.blobs import BlobNotFound

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
LEFT_SECONDS = 86_400
_BATCH_BYTES = 1 << 20
"""Written in one visit to a thread."""


class DirectoryBlobs:
    """`Blobs` in a directory, of one machine or a mounted one that several servers share.

    A blob is written beside its place, synced, and renamed into it; so a reader sees the whole or nothing, also
    after a crash. What a crash leaves in ``.incoming`` is removed at the next start; where another server may write
    there (``shared``), once nobody has written to it for a day.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        self._root = root
        self._incoming = root / ".incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if not shared or time.time() - leftover.stat().st_mtime > LEFT_SECONDS:
                    leftover.unlink()

    async def put(self, key: str, data: AsyncIterator[bytes]) -> int:
        """See `Blobs.put`. Raises ValueError for a malformed key, StorageFull when the disk is."""
        place = self._root / check_key(key)
        try:
            return await self._put(place, data)
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull from error
            raise

    async def _put(self, place: Path, data: AsyncIterator[bytes]) -> int:
        incoming = self._incoming / new_id()
        file = await asyncio.to_thread(incoming.open, "xb")
        size = gathered = 0
        batch: list[bytes] = []
        try:
            async for piece in data:
                batch.append(piece)
                gathered += len(piece)
                size += len(piece)
                if gathered >= _BATCH_BYTES:
                    await asyncio.to_thread(file.writelines, batch)
                    batch, gathered = [], 0
            await asyncio.to_thread(_finish, file, batch, place, self._root)
            return size
        except BaseException:
            incoming.unlink(missing_ok=True)
            raise
        finally:
            with contextlib.suppress(OSError):
                file.close()

    async def read(self, key: str, offset: int, size: int) -> bytes:
        """See `Blobs.read`."""
        try:
            path = self._root / check_key(key)
            return await asyncio.to_thread(_read, path, offset, size)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
            raise BlobNotFound(key) from error

    async def old(self, kind: str, *, before: Micros) -> AsyncIterator[Sequence[str]]:
        """See `Blobs.old`: one directory at a time."""
        for place in await asyncio.to_thread(_directories, self._root / kind):
            found = await asyncio.to_thread(_old, place, before / 1e6)
            keys = (str(path.relative_to(self._root)) for path in found)
            yield [key for key in keys if is_key(key)]

    async def delete(self, key: str) -> None:
        """See `Blobs.delete`."""
        await asyncio.to_thread(_delete, self._root / check_key(key))


def _finish(file: IO[bytes], rest: list[bytes], place: Path, root: Path) -> None:
    file.writelines(rest)
    file.flush()
    os.fsync(file.fileno())
    file.close()
    made = _make_directories(place.parent, root)
    Path(file.name).replace(place)
    for directory in (place.parent, *made):
        _sync_directory(directory)


def _make_directories(directory: Path, root: Path) -> list[Path]:
    """Makes what is missing; returns the parents whose entries have to be synced."""
    missing = []
    while not directory.exists() and directory != root:
        missing.append(directory)
        directory = directory.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
    return [each.parent for each in missing]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        rest = os.fstat(file.fileno()).st_size - offset
        return os.pread(file.fileno(), min(size, rest), offset) if min(size, rest) > 0 else b""


def _directories(parent: Path) -> list[Path]:
    return sorted(parent.iterdir()) if parent.is_dir() else []


def _old(directory: Path, before: float) -> list[Path]:
    found = []
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                found.append(path)
    return found


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    _sync_directory(path.parent)
