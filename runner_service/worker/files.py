"""Files of attempts: inputs are fetched and checked before the start, outputs kept after the end, under the fence."""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import grpc.aio

from runner.v1 import dispatch_service_pb2 as dispatch
from runner_service.domain.errors import UploadTooLarge
from runner_service.domain.jobs import JobInput
from runner_service.worker.failures import Failure, failure_of, reason_of
from runner_service.worker.link import Link

log = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
MOST_OUTPUTS = 10_000
"""Files that one attempt may leave."""
MOST_SEEN = 200_000
"""Files that are looked at in the directory of one attempt."""


class FilesFailed(Exception):
    """A file could not be brought, and trying again would not help."""


class Unwanted(Exception):
    """Nobody waits for the attempt any more."""


class Files:
    """Brings files to attempts and away from them."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def fetch(
        self, attempt_id: str, fence: int, inputs: Sequence[JobInput], directory: Path, *, wanted: Callable[[], bool]
    ) -> None:
        """Puts the inputs of an attempt into a directory. ``wanted`` is asked again and again.

        Raises:
            FilesFailed: One is not there, or there is no room for it.
            Unwanted: As the name says.
        """
        for one in inputs:
            place = directory / one.path
            try:
                await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
                with await asyncio.to_thread(place.open, "wb") as file:
                    await self._fetch(attempt_id, fence, one, file, wanted)
                if one.executable:
                    await asyncio.to_thread(place.chmod, 0o755)
            except OSError as error:
                raise FilesFailed(f"cannot write the input {one.path}: {error.strerror}") from None

    async def _fetch(
        self, attempt_id: str, fence: int, one: JobInput, file: BinaryIO, wanted: Callable[[], bool]
    ) -> None:
        backoff, digest = self._link.backoff(), hashlib.sha256()
        request = dispatch.FetchInputRequest(
            runner_id=self._link.runner_id, attempt_id=attempt_id, fence=fence, artifact_id=one.artifact_id
        )
        while True:
            try:
                async for reply in self._link.fetch_input(request):
                    if not wanted():
                        raise Unwanted
                    await asyncio.to_thread(file.write, reply.data)
                    digest.update(reply.data)
                    request.offset += len(reply.data)
                    if request.offset == reply.size:
                        if digest.hexdigest() != reply.sha256:
                            raise FilesFailed(f"the input {one.path} arrived damaged")
                        return
            except grpc.aio.AioRpcError as error:
                if failure_of(error) is Failure.STALE_ATTEMPT:
                    raise Unwanted from None
                if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                    raise FilesFailed(f"cannot fetch the input {one.path}: {error.details()}") from None
            await asyncio.sleep(backoff.next())
            if not wanted():
                raise Unwanted

    async def keep(self, attempt_id: str, fence: int, directory: Path, patterns: Sequence[str]) -> None:
        """Uploads what the patterns match in a directory, as often as it takes.

        Raises:
            FilesFailed: The server does not take one.
            Unwanted: The attempt is not this worker's any more.
        """
        names = await asyncio.to_thread(lambda: list(matches(directory, patterns)))
        if len(names) > MOST_OUTPUTS:
            raise FilesFailed(f"{len(names)} files match the outputs, more than {MOST_OUTPUTS}")
        for name in names:
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise FilesFailed(f"cannot keep the output {name!r}: its name is not UTF-8")
            await self._keep(attempt_id, fence, directory / name, name)

    async def _keep(self, attempt_id: str, fence: int, path: Path, name: str) -> None:
        backoff = self._link.backoff()
        head = dispatch.UploadOutputRequest(
            runner_id=self._link.runner_id, attempt_id=attempt_id, fence=fence, name=name
        )
        while True:
            digest = hashlib.sha256()
            try:
                reply = await self._link.upload_output(_pieces(path, head, digest))
                if digest.hexdigest() == reply.sha256:
                    return
                # It answers at once when it had all of it: then what was sent is not all there is.
                if await asyncio.to_thread(_sha256, path) == reply.sha256:
                    return
                raise FilesFailed(f"the output {name} arrived damaged")
            except OSError as error:
                raise FilesFailed(f"cannot read the output {name}: {error.strerror}") from None
            except grpc.aio.AioRpcError as error:
                if failure_of(error) is Failure.STALE_ATTEMPT:
                    raise Unwanted from None
                if failure_of(error) is Failure.BAD_REQUEST or reason_of(error) == UploadTooLarge.reason:
                    raise FilesFailed(f"cannot keep the output {name}: {error.details()}") from None
                log.debug("An output is uploaded again: %s", error.code(), extra={"action": "output_cut"})
            await asyncio.sleep(backoff.next())


def matches(directory: Path, patterns: Sequence[str]) -> Iterator[str]:
    """Names of the regular files that the patterns match, each once, in order; of a directory all in it. Links are not
    followed: neither out of the directory nor around in it. A directory that cannot be read stands for what is in it.

    Raises:
        FilesFailed: There are more files than can be looked at.
    """
    split = [pattern.rstrip("/").split("/") for pattern in patterns]
    files = _files(str(directory), "")
    names = [name for name in islice(files, MOST_SEEN) if any(_fits(name.split("/"), pattern) for pattern in split)]
    if next(files, None) is not None:
        raise FilesFailed(f"its directory has more than {MOST_SEEN} files, too many to look for outputs in it")
    yield from sorted(names)


def _fits(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tells whether a pattern matches a file or a directory that it is in. Takes each part of the name once, with all
    places of the pattern that it may be at: ``**`` is any number of directories."""
    places = _with_skipped({0}, pattern)
    for part in name:
        if len(pattern) in places:
            return True
        further = {place if pattern[place] == "**" else place + 1 for place in places if _takes(pattern[place], part)}
        places = _with_skipped(further, pattern)
    return len(pattern) in places


def _takes(pattern: str, part: str) -> bool:
    return pattern == "**" or fnmatch.fnmatchcase(part, pattern)


def _with_skipped(places: set[int], pattern: Sequence[str]) -> set[int]:
    for place in sorted(places):
        while place < len(pattern) and pattern[place] == "**":
            place += 1
            places.add(place)
    return places


def _files(directory: str, prefix: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path, f"{prefix}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield prefix + entry.name
    except OSError as error:
        if prefix and not isinstance(error, FileNotFoundError):
            yield prefix.rstrip("/")


async def _pieces(
    path: Path, head: dispatch.UploadOutputRequest, digest: hashlib._Hash
) -> AsyncIterator[dispatch.UploadOutputRequest]:
    yield head
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            digest.update(piece)
            yield dispatch.UploadOutputRequest(data=piece)
    yield dispatch.UploadOutputRequest(end=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
