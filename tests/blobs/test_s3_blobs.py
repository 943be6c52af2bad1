"""What a bucket can do that a directory cannot: be away, be another's, not be there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from s3_server import NoS3, S3Server, s3_server

from runner_service.blobs import Bucket, BucketUnusable, DirectoryBlobs, S3Blobs, open_blobs, s3
from runner_service.domain.errors import BlobsUnavailable
from runner_service.ports.blobs import Blobs

KEY = "logs/ab/one"
BACK_SECONDS = 60.0


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def roundtrip(blobs: Blobs) -> bytes:
    await blobs.put(KEY, once(b"data"))
    return await blobs.read(KEY, 0, 99)


async def _once_back(call: Callable[[], Awaitable[bytes]]) -> bytes:
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        try:
            return await call()
        except BlobsUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    try:
        with s3_server(tmp_path) as server:
            yield server
    except NoS3 as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        (Bucket("blobs"), "s3://bucket/prefix or file:///directory, not 'blobs'"),
        (Bucket("gs://blobs/x"), "not 'gs://blobs/x'"),
        (Bucket("s3:///x"), "not 's3:///x'"),
        (Bucket("file://elsewhere/x"), "not 'file://elsewhere/x'"),
        (Bucket("s3://blobs", access_key_id="a"), "give both or none"),
        (Bucket("s3://blobs", secret_access_key="a"), "give both or none"),
    ],
)
async def test_addresses_that_are_none_are_refused(bucket: Bucket, said: str, tmp_path: Path) -> None:
    with pytest.raises(BucketUnusable, match=said):
        await open_blobs(bucket, tmp_path)


async def test_a_directory_is_an_address_too(tmp_path: Path) -> None:
    shared = await open_blobs(Bucket(f"file://{tmp_path}/with%20blank"), tmp_path / "own")
    assert isinstance(shared, DirectoryBlobs)
    assert await roundtrip(shared) == b"data"
    assert (tmp_path / "with blank" / KEY).read_bytes() == b"data"
    assert not (tmp_path / "own").exists()
    assert await roundtrip(await open_blobs(Bucket(""), tmp_path / "own")) == b"data"
    assert (tmp_path / "own" / KEY).exists()


@pytest.mark.slow
async def test_wrong_credentials_are_refused_at_the_start(server: S3Server, tmp_path: Path) -> None:
    assert isinstance(await open_blobs(server.bucket("s3://blobs"), tmp_path), S3Blobs)
    with pytest.raises(BucketUnusable, match="s3://blobs refuses") as caught:
        await open_blobs(server.bucket("s3://blobs", secret="wrong"), tmp_path)
    assert "wrong" not in str(caught.value)


@pytest.mark.slow
async def test_a_bucket_that_is_away_comes_back(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RETRY_SECONDS", 0)
    blobs = await open_blobs(server.bucket("s3://blobs/x"), tmp_path)
    assert await roundtrip(blobs) == b"data"
    server.stop()
    for call in (blobs.put(KEY, once(b"x")), blobs.read(KEY, 0, 9), blobs.delete(KEY)):
        with pytest.raises(BlobsUnavailable, match="try again"):
            await call
    meanwhile = await open_blobs(server.bucket("s3://blobs/x"), tmp_path)
    server.start()
    # It answers before its own parts have found each other again, and says that it cannot for as long.
    assert await _once_back(lambda: blobs.read(KEY, 0, 99)) == b"data"
    assert await _once_back(lambda: roundtrip(meanwhile)) == b"data"
