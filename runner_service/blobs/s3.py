"""Blobs as objects of an S3 bucket, each under a prefix and its key: for several servers on one PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runner_service.blobs.keys import check_key, is_key
from runner_service.domain.errors import BlobsUnavailable, StorageFull
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import Micros
from runner_service.ports.blobs import BlobNotFound

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

log = logging.getLogger(__name__)

PART_BYTES = 8 * 1024 * 1024
"""Larger blobs go up in parts of this size."""
PARTS_AT_ONCE = 4
LISTED_AT_ONCE = 500
RETRY_SECONDS = 20
"""How long one request is tried again before the bucket counts as away."""
NO_ROOM = ("507 Insufficient Storage", "QuotaExceeded", "StorageFull")
"""How services that speak S3 say that there is no room; Amazon's own never does."""


class BucketUnusable(Exception):
    """The settings of the place of blobs are wrong; the message says which."""


@dataclass(frozen=True)
class Bucket:
    """Which bucket, and how it is reached."""

    url: str
    """``s3://bucket`` or ``s3://bucket/prefix``."""
    endpoint: str = ""
    """``https://host:port`` of a service that speaks S3. Empty: Amazon's."""
    region: str = "us-east-1"
    access_key_id: str = ""
    """Empty: what the AWS tools would take too (environment, web identity, the machine's role)."""
    secret_access_key: str = field(default="", repr=False)


class S3Blobs:
    """`Blobs` in a bucket.

    S3 shows an object whole or not at all. Parts of an upload that a crash cut short are invisible and are cleared by a
    lifecycle rule of the bucket (AbortIncompleteMultipartUpload). Every method raises `BlobsUnavailable` when the
    service is away or refuses; `put` raises `StorageFull` where it says that it has no room.
    """

    def __init__(self, bucket: Bucket) -> None:
        """Raises BucketUnusable for an address that is none; nothing is asked yet."""
        self._url = bucket.url
        self._store = _open(bucket)

    async def check(self) -> None:
        """Writes, reads and removes a blob.

        Raises:
            BucketUnusable: There is no such bucket, or it refuses us: that will not change by waiting.
            BlobsUnavailable: It is away now.
        """
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        key = f"checks/00/{new_id()}"
        try:
            await self.put(key, _once(b"runner"))
            await self.read(key, 0, 1)
            await self.delete(key)
        except BlobNotFound as error:
            raise BucketUnusable(f"blobs.url: there is no bucket {self._url}") from error
        except BlobsUnavailable as error:
            if isinstance(error.__cause__, (PermissionDeniedError, UnauthenticatedError)):
                raise BucketUnusable(f"blobs.url: {self._url} refuses: {_sentence(error.__cause__)}") from error
            raise

    async def put(self, key: str, data: AsyncIterator[bytes]) -> int:
        """See `Blobs.put`. Raises ValueError for a malformed key."""
        import obstore

        check_key(key)
        size = 0

        async def measured() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in data:
                size += len(piece)
                if piece:
                    yield piece

        with self._failures(key):
            pieces = measured()
            head, more = await _head(pieces)
            if more:
                await obstore.put_async(
                    self._store, key, _chain(head, pieces), chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
                )
            else:
                await obstore.put_async(self._store, key, head, use_multipart=False)
        return size

    async def read(self, key: str, offset: int, size: int) -> bytes:
        """See `Blobs.read`."""
        import obstore

        try:
            check_key(key)
        except ValueError as error:
            raise BlobNotFound(key) from error
        with self._failures(key):
            if size <= 0:
                await obstore.head_async(self._store, key)
                return b""
            try:
                return bytes(await obstore.get_range_async(self._store, key, start=offset, length=size))
            except obstore.exceptions.GenericError as error:
                if "416 " in str(error):  # It ends before the offset.
                    return b""
                raise

    async def old(self, kind: str, *, before: Micros) -> AsyncIterator[Sequence[str]]:
        """See `Blobs.old`."""
        import obstore

        pages = obstore.list(self._store, kind, chunk_size=LISTED_AT_ONCE)
        while True:
            with self._failures(kind):
                page = await anext(pages, None)
            if page is None:
                return
            old = (one["path"] for one in page if one["last_modified"].timestamp() * 1e6 < before)
            yield [key for key in old if is_key(key)]

    async def delete(self, key: str) -> None:
        """See `Blobs.delete`."""
        import obstore

        with self._failures(check_key(key)):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                return

    @contextmanager
    def _failures(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            raise BlobNotFound(key) from error
        except BaseError as error:
            said = str(error)
            if any(word in said for word in NO_ROOM):
                raise StorageFull from error
            log.warning("%s: %s", self._url, _sentence(error), extra={"action": "blobs_unavailable"})
            raise BlobsUnavailable from error


def _open(bucket: Bucket) -> S3Store:
    parts = urlsplit(bucket.url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise BucketUnusable(f"blobs.url has the form s3://bucket/prefix, not {bucket.url!r}")
    if bool(bucket.access_key_id) != bool(bucket.secret_access_key):
        raise BucketUnusable("blobs.access_key_id and blobs.secret_access_key go together: give both or none")
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise BucketUnusable("blobs.url names a bucket: pip install 'runner-service[server,s3]'") from error
    config: S3Config = {"region": bucket.region}
    if bucket.endpoint:
        config["endpoint"] = bucket.endpoint.rstrip("/")
    if bucket.access_key_id:
        config["access_key_id"], config["secret_access_key"] = bucket.access_key_id, bucket.secret_access_key
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        config=config,
        client_options={"allow_http": bucket.endpoint.startswith("http://"), "timeout": timedelta(seconds=60)},
        retry_config={"max_retries": 8, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


async def _head(pieces: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Up to somewhat over a part of data, and whether there may be more."""
    gathered: list[bytes] = []
    size = 0
    async for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= PART_BYTES:
            return b"".join(gathered), True
    return b"".join(gathered), False


async def _chain(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for piece in rest:
        yield piece


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _sentence(error: BaseException) -> str:
    """The first line of what the library says, without the body of the answer and what only its authors read."""
    return str(error).partition("\n")[0].partition(": <?xml")[0].rstrip(". ")
