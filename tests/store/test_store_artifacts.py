"""`ArtifactStore`, on both engines."""

from __future__ import annotations

import asyncio

import pytest
from store_house import MovingClock

from runner_service.domain.artifacts import Artifact, ArtifactPart, ArtifactState
from runner_service.domain.errors import ArtifactNotFound, RequestNotFound
from runner_service.domain.ids import new_id
from runner_service.store import SqlStore


def make(**fields: str) -> Artifact:
    return Artifact(**{"artifact_id": new_id(), "name": "out/a.txt", **fields})  # type: ignore[arg-type]


def part(offset: int, size: int) -> ArtifactPart:
    return ArtifactPart(offset=offset, size=size, blob_key=f"artifacts/aa/{offset}")


async def test_parts_join_and_others_are_not_added(store: SqlStore) -> None:
    made = await store.artifacts.begin(make(), request_id="")
    assert (made.state, made.size) == (ArtifactState.UPLOADING, 0)
    assert (await store.artifacts.add_part(made.artifact_id, part(0, 10))).size == 10
    assert (await store.artifacts.add_part(made.artifact_id, part(0, 10))).size == 10
    assert (await store.artifacts.add_part(made.artifact_id, part(11, 5))).size == 10
    assert (await store.artifacts.add_part(made.artifact_id, part(10, 5))).size == 15
    assert await store.artifacts.ready([made.artifact_id]) == []
    ready = await store.artifacts.finish(made.artifact_id, "ab" * 32)
    assert (ready.state, ready.size, ready.sha256) == (ArtifactState.READY, 15, "ab" * 32)
    assert await store.artifacts.finish(made.artifact_id, "cd" * 32) == ready
    assert (await store.artifacts.add_part(made.artifact_id, part(15, 5))).size == 15
    assert await store.artifacts.parts(made.artifact_id) == [part(0, 10), part(10, 5)]
    assert await store.artifacts.ready([made.artifact_id, "none"]) == [made.artifact_id]
    assert await store.artifacts.get(made.artifact_id) == ready


async def test_one_request_id_of_one_creator_is_one_artifact(store: SqlStore) -> None:
    made = await asyncio.gather(*(store.artifacts.begin(make(created_by="me"), request_id="upload") for _ in range(5)))
    assert len({artifact.artifact_id for artifact in made}) == 1
    other = await store.artifacts.begin(make(created_by="you"), request_id="upload")
    assert other.artifact_id != made[0].artifact_id
    assert await store.artifacts.by_request("me", "upload") == made[0]
    with pytest.raises(RequestNotFound):
        await store.artifacts.by_request("me", "none")
    assert (await store.artifacts.begin(make(), request_id="")).artifact_id != (
        await store.artifacts.begin(make(), request_id="")
    ).artifact_id


async def test_lists_show_what_is_ready_page_by_page(store: SqlStore) -> None:
    job_id = new_id()
    made = [await store.artifacts.begin(make(job_id=job_id, name=str(number)), request_id="") for number in range(4)]
    alone = await store.artifacts.begin(make(), request_id="")
    for artifact in (*made[:3], alone):
        await store.artifacts.finish(artifact.artifact_id, "")
    first = await store.artifacts.list(job_id=job_id, after="", limit=2)
    assert [artifact.name for artifact in first] == ["0", "1"]
    rest = await store.artifacts.list(job_id=job_id, after=first[-1].artifact_id, limit=2)
    assert [artifact.name for artifact in rest] == ["2"]
    assert len(await store.artifacts.list(job_id=None, after="", limit=9)) == 4


async def test_what_is_deleted_names_its_blobs(store: SqlStore) -> None:
    made = await store.artifacts.begin(make(), request_id="")
    await store.artifacts.add_part(made.artifact_id, part(0, 10))
    assert await store.artifacts.delete(made.artifact_id) == ["artifacts/aa/0"]
    for call in (store.artifacts.get, store.artifacts.delete):
        with pytest.raises(ArtifactNotFound):
            await call(made.artifact_id)
    with pytest.raises(ArtifactNotFound):
        await store.artifacts.add_part(made.artifact_id, part(0, 1))
    assert await store.artifacts.parts(made.artifact_id) == []


async def test_old_ones_expire_and_unfinished_uploads_sooner(store: SqlStore, clock: MovingClock) -> None:
    old = await store.artifacts.begin(make(), request_id="")
    await store.artifacts.finish(old.artifact_id, "")
    clock.advance(100)
    cut = await store.artifacts.begin(make(), request_id="")
    await store.artifacts.add_part(cut.artifact_id, part(0, 3))
    kept = await store.artifacts.begin(make(), request_id="")
    await store.artifacts.finish(kept.artifact_id, "")
    clock.advance(10)
    answer = await store.artifacts.expire(seconds=50, upload_seconds=5, limit=9)
    assert answer == (2, ["artifacts/aa/0"])
    assert [artifact.artifact_id for artifact in await store.artifacts.list(job_id=None, after="", limit=9)] == [
        kept.artifact_id
    ]
