"""Which blobs belong to something, and how long one may wait for that."""

from __future__ import annotations

import time

import pytest
from store_house import SECOND, MovingClock, running

from runner_service.domain.artifacts import Artifact, ArtifactPart
from runner_service.domain.blobs import NAMED_SECONDS, ORPHAN_SECONDS, new_key
from runner_service.domain.errors import UploadLate
from runner_service.domain.ids import new_id
from runner_service.domain.images import ImageManifest, Realm, make_image
from runner_service.domain.queues import FileKind, LabFile
from runner_service.store import SqlStore

IMAGE = make_image(ImageManifest(files="sha256:" + "1" * 64, files_bytes=1))


async def name_all(store: SqlStore, *keys: str) -> None:
    """Of a part of an artifact, of the files of an image, of a file of a lab."""
    part, image, file = keys
    artifact = await store.artifacts.begin(Artifact(artifact_id=new_id(), name="a", created_by="me"), request_id="")
    await store.artifacts.add_part(artifact.artifact_id, ArtifactPart(offset=0, size=1, blob_key=part))
    await store.images.put(IMAGE, name="a", tag="latest", realms=(Realm.LOCAL,), blob_key=image)
    await store.lab_records.put_file(
        new_id(), FileKind.ARTIFACT, LabFile(blob_key=file, size=1, sha256="", media_type="")
    )


async def test_what_a_row_names_is_owned_and_nothing_else(store: SqlStore) -> None:
    keys = [new_key(kind) for kind in ("artifacts", "images", "lab")]
    assert set(await store.blobs.owned(keys)) == set()
    await name_all(store, *keys)
    orphans = [new_key(kind) for kind in ("artifacts", "images", "lab", "logs", "checks")]
    assert set(await store.blobs.owned([*keys, *orphans])) == set(keys)


async def test_the_log_of_an_attempt_is_owned_before_it_is_archived(store: SqlStore) -> None:
    _, _, attempt = await running(store)
    key = f"logs/{attempt.attempt_id[-2:]}/{attempt.attempt_id}"
    assert list(await store.blobs.owned([key])) == [key]


async def test_a_blob_that_was_on_its_way_for_too_long_is_not_named(store: SqlStore, clock: MovingClock) -> None:
    assert ORPHAN_SECONDS > NAMED_SECONDS
    keys = [new_key(kind) for kind in ("artifacts", "images", "lab")]
    clock.time = time.time_ns() // 1000 + round((NAMED_SECONDS + 60) * SECOND)
    artifact = await store.artifacts.begin(Artifact(artifact_id=new_id(), name="a", created_by="me"), request_id="")
    with pytest.raises(UploadLate):
        await store.artifacts.add_part(artifact.artifact_id, ArtifactPart(offset=0, size=1, blob_key=keys[0]))
    with pytest.raises(UploadLate):
        await store.images.put(IMAGE, name="a", tag="latest", realms=(Realm.LOCAL,), blob_key=keys[1])
    with pytest.raises(UploadLate):
        file = LabFile(blob_key=keys[2], size=1, sha256="", media_type="")
        await store.lab_records.put_file(new_id(), FileKind.ARTIFACT, file)
    assert set(await store.blobs.owned(keys)) == set()
    clock.time -= 120 * SECOND
    await name_all(store, *keys)
    assert set(await store.blobs.owned(keys)) == set(keys)
