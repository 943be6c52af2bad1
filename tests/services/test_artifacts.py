"""Uploads that are cut, repeated, too large or damaged; downloads from any byte."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from services_house import House

from runner_service.domain.artifacts import Artifact, ArtifactState
from runner_service.domain.errors import (
    ArtifactCorrupt,
    ArtifactNotFound,
    InvalidArgument,
    RangeOutside,
    RequestNotFound,
    StaleAttempt,
    UploadCut,
    UploadTooLarge,
)
from runner_service.domain.jobs import JobInput
from runner_service.services import artifacts as module
from runner_service.services.artifacts import NewUpload

DATA = bytes(range(256)) * 10


class Cut(Exception):
    """The connection went away."""


async def pieces(data: bytes, *, size: int = 100, cut: bool = False, ended: bool = True) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
    if cut:
        raise Cut
    if not ended:
        raise UploadCut()


async def read(house: House, artifact: Artifact, **where: int) -> bytes:
    return b"".join([piece async for piece in house.artifacts.download(artifact.artifact_id, **where)])


def blobs(directory: Path) -> list[Path]:
    return [path for path in (directory / "blobs").rglob("*") if path.is_file()]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 700)


async def test_a_file_goes_in_and_comes_out_from_any_byte(house: House) -> None:
    artifact = await house.artifacts.upload(NewUpload(name="a/b.bin", by="me"), pieces(DATA))
    assert (artifact.state, artifact.size) == (ArtifactState.READY, len(DATA))
    assert artifact.sha256 == hashlib.sha256(DATA).hexdigest()
    assert await read(house, artifact) == DATA
    for offset in (0, 1, 699, 700, 701, 2559, 2560):
        assert await read(house, artifact, offset=offset) == DATA[offset:]
        assert await read(house, artifact, offset=offset, limit=900) == DATA[offset : offset + 900]
    with pytest.raises(RangeOutside):
        await read(house, artifact, offset=2561)


async def test_an_empty_file_is_a_file(house: House) -> None:
    artifact = await house.artifacts.upload(NewUpload(name="empty"), pieces(b""))
    assert (artifact.size, artifact.sha256) == (0, hashlib.sha256().hexdigest())
    assert await read(house, artifact) == b""


async def test_an_upload_that_was_cut_goes_on_behind_what_is_kept(house: House) -> None:
    upload = NewUpload(name="a", request_id="mine", by="me")
    with pytest.raises(Cut):
        await house.artifacts.upload(upload, pieces(DATA[:1500], cut=True))
    kept = await house.artifacts.uploaded("mine", by="me")
    assert (kept.state, kept.size) == (ArtifactState.UPLOADING, 1400)
    with pytest.raises(ArtifactNotFound):
        await read(house, kept)
    with pytest.raises(RequestNotFound):
        await house.artifacts.uploaded("mine", by="you")
    for beyond in (-1, 1401):
        with pytest.raises(InvalidArgument):
            await house.artifacts.upload(NewUpload(name="a", request_id="mine", by="me", offset=beyond), pieces(b""))
    resumed = NewUpload(name="a", request_id="mine", by="me", offset=1400)
    artifact = await house.artifacts.upload(resumed, pieces(DATA[1400:]))
    assert artifact.sha256 == hashlib.sha256(DATA).hexdigest()
    assert await read(house, artifact) == DATA


async def test_what_ends_without_its_last_message_is_no_file_unless_it_is_what_was_announced(house: House) -> None:
    with pytest.raises(UploadCut):
        await house.artifacts.upload(NewUpload(name="a", request_id="one", by="me"), pieces(DATA[:1500], ended=False))
    kept = await house.artifacts.uploaded("one", by="me")
    assert (kept.state, kept.size) == (ArtifactState.UPLOADING, 1500)
    sha256 = hashlib.sha256(DATA).hexdigest()
    upload = NewUpload(name="a", request_id="two", by="me", sha256=sha256)
    with pytest.raises(UploadCut):  # not ArtifactCorrupt, which would have let go of what came
        await house.artifacts.upload(upload, pieces(DATA[:1500], ended=False))
    assert (await house.artifacts.uploaded("two", by="me")).size == 1500
    resumed = NewUpload(name="a", request_id="two", by="me", sha256=sha256, offset=1500)
    assert (await house.artifacts.upload(resumed, pieces(DATA[1500:], ended=False))).state is ArtifactState.READY


async def test_an_upload_that_is_repeated_whole_is_kept_once(house: House, tmp_path: Path) -> None:
    upload = NewUpload(name="a", request_id="mine")
    with pytest.raises(Cut):
        await house.artifacts.upload(upload, pieces(DATA[:1000], cut=True))
    artifact = await house.artifacts.upload(upload, pieces(DATA))
    assert await read(house, artifact) == DATA
    assert await house.artifacts.upload(upload, pieces(DATA)) == artifact
    assert len(blobs(tmp_path)) == 4


async def test_what_is_not_what_was_announced_is_not_kept(house: House, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt):
        await house.artifacts.upload(NewUpload(name="a", sha256="00" * 32, request_id="mine"), pieces(DATA))
    with pytest.raises(RequestNotFound):
        await house.artifacts.uploaded("mine", by="")
    assert blobs(tmp_path) == []
    sha256 = hashlib.sha256(DATA).hexdigest().upper()
    assert (await house.artifacts.upload(NewUpload(name="a", sha256=sha256), pieces(DATA))).size == len(DATA)


async def test_what_is_too_large_is_not_kept(house: House, tmp_path: Path) -> None:
    with pytest.raises(UploadTooLarge):
        await house.artifacts.upload(NewUpload(name="a"), pieces(bytes(10_001)))
    assert blobs(tmp_path) == []


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a\0b", "x" * 1001])
async def test_a_name_that_leads_elsewhere_is_refused(house: House, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await house.artifacts.upload(NewUpload(name=name), pieces(b"x"))


async def test_outputs_are_taken_under_the_fence_alone(house: House) -> None:
    await house.job()
    worker = await house.worker()
    attempt_id = await worker.start()
    runner_id = worker.runner.runner_id
    artifact = await house.artifacts.upload_output(runner_id, attempt_id, 1, NewUpload(name="out"), pieces(DATA))
    job_id = (await house.store.jobs.attempt(attempt_id)).job_id
    assert (artifact.job_id, artifact.attempt_id) == (job_id, attempt_id)
    assert await house.artifacts.list(job_id=job_id, limit=9) == [artifact]
    for other in ((runner_id, attempt_id, 2), ("another", attempt_id, 1), (runner_id, "unknown", 1)):
        with pytest.raises(StaleAttempt):
            await house.artifacts.upload_output(*other, NewUpload(name="out2"), pieces(DATA))
    await worker.finish(attempt_id)
    with pytest.raises(StaleAttempt):
        await house.artifacts.upload_output(runner_id, attempt_id, 1, NewUpload(name="out2"), pieces(DATA))


async def test_inputs_are_given_to_the_attempt_that_names_them_alone(house: House) -> None:
    named = await house.artifacts.upload(NewUpload(name="a"), pieces(DATA))
    empty = await house.artifacts.upload(NewUpload(name="b"), pieces(b""))
    other = await house.artifacts.upload(NewUpload(name="c"), pieces(DATA))
    inputs = tuple(JobInput(artifact_id=one.artifact_id, path=one.name) for one in (named, empty))
    await house.job(inputs=inputs)
    worker = await house.worker()
    attempt_id = await worker.start()
    runner_id = worker.runner.runner_id

    async def fetched(runner: str, fence: int, artifact: Artifact, offset: int = 0) -> bytes:
        pieces = house.artifacts.fetch_input(runner, attempt_id, fence, artifact.artifact_id, offset)
        return b"".join([data async for _, data in pieces])

    assert await fetched(runner_id, 1, named) == DATA
    assert await fetched(runner_id, 1, named, 1000) == DATA[1000:]
    assert await fetched(runner_id, 1, empty) == b""
    with pytest.raises(ArtifactNotFound):
        await fetched(runner_id, 1, other)
    for runner, fence in (("another", 1), (runner_id, 2)):
        with pytest.raises(StaleAttempt):
            await fetched(runner, fence, named)


async def test_a_deleted_one_leaves_nothing(house: House, tmp_path: Path) -> None:
    artifact = await house.artifacts.upload(NewUpload(name="a"), pieces(DATA))
    await house.artifacts.check([artifact.artifact_id])
    await house.artifacts.delete(artifact.artifact_id)
    assert blobs(tmp_path) == []
    with pytest.raises(InvalidArgument, match="upload it first"):
        await house.artifacts.check([artifact.artifact_id])
