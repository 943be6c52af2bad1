"""Blobs that a crash left without a row go, and no other."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from services_house import House
from store_house import SECOND, MovingClock

from runner_service.blobs.directory import DirectoryBlobs
from runner_service.domain.blobs import NAMED_SECONDS, ORPHAN_SECONDS, new_key
from runner_service.domain.errors import UploadLate
from runner_service.domain.ids import new_id
from runner_service.ports.blobs import BlobNotFound
from runner_service.services.artifacts import Artifacts, NewUpload
from runner_service.services.orphans import Orphans


class SlowBlobs(DirectoryBlobs):
    """Stands still once a blob is there."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.hung, self.going_on = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, data: AsyncIterator[bytes]) -> int:
        size = await super().put(key, data)
        self.hung.set()
        await self.going_on.wait()
        return size


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


@pytest.fixture
def orphans(house: House, blobs: DirectoryBlobs, clock: MovingClock) -> Orphans:
    clock.time = time.time_ns() // 1000
    return Orphans(owners=house.store.blobs, blobs=blobs, first_seconds=0.0)


def kept(tmp_path: Path) -> set[str]:
    root = tmp_path / "blobs"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def age(tmp_path: Path, seconds: float) -> None:
    for key in kept(tmp_path):
        os.utime(tmp_path / "blobs" / key, (time.time() - seconds,) * 2)


async def test_what_nothing_names_goes_when_it_is_old(
    house: House, blobs: DirectoryBlobs, orphans: Orphans, tmp_path: Path
) -> None:
    artifact = await house.artifacts.upload(NewUpload(name="a"), pieces(b"data"))
    owned = kept(tmp_path)
    lost = {new_key(kind) for kind in ("artifacts", "images", "lab", "checks")} | {f"logs/ab/{new_id()}"}
    for key in lost:
        await blobs.put(key, pieces(b"lost"))
    (tmp_path / "blobs" / "theirs").mkdir()
    (tmp_path / "blobs" / "theirs" / "file").write_text("of somebody else")
    assert await orphans.sweep() == 0, "an upload in progress may be about to name it"
    age(tmp_path, ORPHAN_SECONDS + 1)
    # Two servers look at the same time.
    found = await asyncio.gather(orphans.sweep(), orphans.sweep())
    assert max(found) >= 1 and kept(tmp_path) == {*owned, "theirs/file"}
    assert b"".join([piece async for piece in house.artifacts.download(artifact.artifact_id)]) == b"data"
    assert await orphans.sweep() == 0


async def test_an_upload_that_hung_for_days_is_refused_and_not_lost_later(
    house: House, blobs: DirectoryBlobs, orphans: Orphans, clock: MovingClock, tmp_path: Path
) -> None:
    """Its server stood still between the blob and the row."""
    slow = SlowBlobs(tmp_path / "blobs")
    artifacts = Artifacts(
        store=house.store.artifacts, jobs=house.store.jobs, blobs=slow, max_bytes=10_000, keep_seconds=3600
    )
    upload = NewUpload(name="a", request_id="one", by="me")
    uploading = asyncio.create_task(artifacts.upload(upload, pieces(b"data")))
    await slow.hung.wait()
    (key,) = kept(tmp_path)
    clock.advance(NAMED_SECONDS - 60)
    age(tmp_path, 60)
    assert await orphans.sweep() == 0
    clock.advance(ORPHAN_SECONDS)
    assert await orphans.sweep() == 1
    with pytest.raises(BlobNotFound):
        await blobs.read(key, 0, 1)
    slow.going_on.set()
    with pytest.raises(UploadLate):
        await uploading
    clock.time = time.time_ns() // 1000 + SECOND
    again = await house.artifacts.upload(upload, pieces(b"data"))
    assert b"".join([piece async for piece in house.artifacts.download(again.artifact_id)]) == b"data"
    assert kept(tmp_path).isdisjoint({key})
