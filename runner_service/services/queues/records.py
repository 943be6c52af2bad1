"""What agents post about jobs: results, output, archives. An id need not be a job's."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from runner_service.domain.blobs import new_key
from runner_service.domain.errors import ArtifactNotFound, JobNotFound, UploadTooLarge
from runner_service.domain.json_text import text_of
from runner_service.domain.queues import (
    ATTACHMENTS_PATH,
    PHASES,
    RUNNING,
    Attachments,
    FileKind,
    Found,
    Fragment,
    LabFile,
    OutputKind,
    QueueJob,
    Search,
)
from runner_service.ports.blobs import BlobNotFound, Blobs
from runner_service.ports.clock import Clock
from runner_service.ports.signals import Signals, log_topic
from runner_service.ports.store import LabRecordStore, QueueStore
from runner_service.services.artifacts import Artifacts, NewUpload
from runner_service.services.logs.tails import LogTails
from runner_service.services.queues.ours import OwnAttempts, is_ours, writes
from runner_service.services.queues.packing import pack

READ_BYTES = 16 * 1024 * 1024
"""Of output that a reader gets at one time; the rest comes when it asks on. A result shows no more."""
CHUNK_BYTES = 256 * 1024
"""Of an archive, handed out at one time."""
AT_ONCE = 100
MOST_FILES = 1_000
"""Of what a job left, in one archive."""


class LabRecords:
    """Use cases of results, output and archives."""

    def __init__(
        self,
        *,
        store: LabRecordStore,
        queues: QueueStore,
        blobs: Blobs,
        ours: OwnAttempts,
        artifacts: Artifacts,
        signals: Signals,
        tails: LogTails,
        clock: Clock,
        output_limit: int,
        file_limit: int,
    ) -> None:
        self._store = store
        self._queues = queues
        self._blobs = blobs
        self._ours = ours
        self._artifacts = artifacts
        self._signals = signals
        self._tails = tails
        self._clock = clock
        self._output_limit = output_limit
        self._file_limit = file_limit

    async def result(self, job_id: str) -> Mapping[str, str]:
        """Everything that is known of an id, as members of JSON text: the job's state, what was posted, and the
        output of each phase that posted it in pieces."""
        found: dict[str, str] = {}
        job = await self._job(job_id)
        if job is not None:
            found["job_state"] = text_of(await self._ours.word(job) if is_ours(job) else job.word)
        if job is not None and is_ours(job):
            found |= await self._ours.members(job)
        posted = await self._queues.results(job_id)
        if "job_state" in found:
            posted = {name: value for name, value in posted.items() if name != "job_state"}
        for kind, ending in ((OutputKind.OUTPUT, "output"), (OutputKind.SERIAL, "serial")):
            phases: dict[str, list[str]] = {}
            for fragment in await self._store.fragments(job_id, kind, max_bytes=READ_BYTES):
                phases.setdefault(fragment.phase, []).append(fragment.data)
            found |= {f"{phase}_{ending}": text_of("".join(pieces)) for phase, pieces in phases.items()}
        return {**found, **posted}

    async def append(self, job_id: str, kind: OutputKind, fragment: Fragment) -> None:
        """Stores a piece of output; see `LabRecordStore.append`. Raises `OutputTooLarge`."""
        stored = await self._store.append(job_id, kind, fragment, limit_bytes=self._output_limit)
        if stored.attempt_id:
            self._tails.settle(stored.attempt_id)
            self._signals.publish((log_topic(stored.attempt_id),))

    async def append_text(self, job_id: str, kind: OutputKind, text: str, *, phase: str, at: str) -> None:
        """Stores text that bears no number, as the next piece. A piece begins on a new line."""
        await self.append(job_id, kind, Fragment(number=-1, phase=phase, at=at, data=text))

    async def fragments(
        self, job_id: str, kind: OutputKind, *, phase: str | None = None, start: int = 0, since: str = ""
    ) -> Sequence[Fragment]:
        """See `LabRecordStore.fragments`. Output of a runner of our own is what it wrote, record by record."""
        job = await self._job(job_id)
        if job is not None and writes(job, kind):
            return await self._ours.fragments(job, kind, phase=phase, start=start, since=since)
        return await self._store.fragments(job_id, kind, phase=phase, start=start, since=since, max_bytes=READ_BYTES)

    async def search(self, search: Search) -> Sequence[Found]:
        """Jobs in the order in which they were pushed. What a runner of our own runs is found by its phase too."""
        wider = replace(search, words=search.words | {RUNNING}) if search.words & set(PHASES) else search
        found = []
        for one in await self._queues.search(wider):
            if one.word == RUNNING and (job := await self._job(one.job_id)) is not None and is_ours(job):
                one = replace(one, word=await self._ours.word(job))
            if one.matches(search.words):
                found.append(one)
        return found

    async def unread(self, job_id: str, kind: OutputKind, *, reader: str) -> str:
        """What this reader was not given yet; each piece on a line of its own where the former has not ended it."""
        job = await self._job(job_id)
        if job is not None and writes(job, kind):
            return await self._unread_of_ours(job, kind, reader)
        text = ""
        for piece in await self._store.unread(job_id, kind, reader=reader, max_bytes=READ_BYTES):
            text += f"\n{piece}" if text and not text.endswith("\n") else piece
        return text

    async def _unread_of_ours(self, job: QueueJob, kind: OutputKind, reader: str) -> str:
        """Output of a runner of our own comes as it was written: a piece need not be a line."""
        job_id = job.job.job_id
        start = await self._store.read_up_to(job_id, kind, reader=reader)
        found = await self._ours.fragments(job, kind, start=start)
        if found:
            await self._store.note_read(job_id, kind, reader=reader, up_to=found[-1].number + 1)
        return "".join(fragment.data for fragment in found)

    async def _job(self, job_id: str) -> QueueJob | None:
        try:
            return await self._queues.get(job_id)
        except JobNotFound:
            return None

    async def put_file(
        self, job_id: str, kind: FileKind, data: AsyncIterator[bytes], *, media_type: str = ""
    ) -> LabFile:
        """Stores an archive in place of the one before. Raises `UploadTooLarge`, and what ``data`` raises: then
        nothing has changed."""
        key = new_key("lab")
        digest = hashlib.sha256()
        size = await self._blobs.put(key, self._measured(data, digest))
        file = LabFile(blob_key=key, size=size, sha256=digest.hexdigest(), media_type=media_type)
        before = await self._store.put_file(job_id, kind, file)
        if before:
            await self._blobs.delete(before)
        return file

    async def _measured(self, data: AsyncIterator[bytes], digest: hashlib._Hash) -> AsyncIterator[bytes]:
        size = 0
        async for piece in data:
            size += len(piece)
            if size > self._file_limit:
                raise UploadTooLarge(limit=self._file_limit)
            digest.update(piece)
            yield piece

    async def file(self, job_id: str, kind: FileKind) -> LabFile | None:
        """What is known of an archive."""
        return await self._store.file(job_id, kind)

    async def read(self, file: LabFile) -> AsyncIterator[bytes]:
        """The bytes of an archive as they were uploaded."""
        offset = 0
        while offset < file.size:
            try:
                piece = await self._blobs.read(file.blob_key, offset, CHUNK_BYTES)
            except BlobNotFound:
                raise ArtifactNotFound(artifact_id=file.blob_key) from None
            if not piece:
                return
            yield piece
            offset += len(piece)

    async def open_artifact(self, job_id: str) -> AsyncIterator[bytes] | None:
        """The job's archive: what was uploaded, or what a runner of our own kept of it, packed; None: there is none."""
        file = await self._store.file(job_id, FileKind.ARTIFACT)
        if file is not None:
            return self.read(file)
        job = await self._job(job_id)
        if job is None or not is_ours(job):
            return None
        kept = await self._artifacts.list(job_id=job_id, limit=MOST_FILES)
        left = [one for one in kept if one.attempt_id == job.job.attempt_id]
        return pack(self._artifacts, left) if left else None

    async def attach(self, job: QueueJob, data: AsyncIterator[bytes]) -> None:
        """Keeps the files that a job waits for. Raises `UploadTooLarge`, and what ``data`` raises: it still waits
        then."""
        artifact_id = job.attachments_id
        try:
            # Of an upload that was cut.
            await self._artifacts.delete(artifact_id)
        except ArtifactNotFound:
            pass
        upload = NewUpload(name=ATTACHMENTS_PATH, artifact_id=artifact_id, request_id=artifact_id)
        await self._artifacts.upload(upload, self._measured(data, hashlib.sha256()))

    async def open_attachments(self, job: QueueJob) -> AsyncIterator[bytes] | None:
        """The files of a job, as they were uploaded; None: there are none (yet)."""
        if job.attachments is not Attachments.COMPLETE:
            return None
        return self._artifacts.download(job.attachments_id)

    async def expire(self, *, keep_seconds: float) -> None:
        """Deletes what was posted for ids that nobody has posted to since."""
        before = self._clock.now() - round(keep_seconds * 1e6)
        while True:
            count, keys = await self._store.expire(touched_before=before, limit=AT_ONCE)
            for key in keys:
                await self._blobs.delete(key)
            if count < AT_ONCE:
                return
