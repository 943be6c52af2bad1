"""Labs above the store: retention, followers, and jobs that nobody takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from services_house import SOON, House, parked
from store_house import MovingClock

from runner_service.blobs.directory import DirectoryBlobs
from runner_service.config import Settings
from runner_service.domain.errors import JobNotFound, UploadTooLarge
from runner_service.domain.ids import new_id
from runner_service.domain.jobs import JobState
from runner_service.domain.queues import SERVED, FileKind, OutputKind, PopRequest, label_of
from runner_service.lab import Lab, make_lab
from runner_service.ports.blobs import BlobNotFound
from runner_service.services.artifacts import Artifacts
from runner_service.services.logs import LogBatch, LogEnd, LogTails
from runner_service.services.queues import LabSecrets, Permissions, read_definition
from runner_service.services.sealing import Sealer

NOBODY = Permissions()


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "lab-blobs")


@pytest.fixture
def lab(house: House, blobs: DirectoryBlobs, clock: MovingClock) -> Lab:
    settings = Settings.model_validate(
        {"testflinger": {"max_file_bytes": 100, "default_timeout_seconds": 50, "lease_grace_seconds": 10}}
    )
    return make_lab(
        settings,
        store=house.store,
        blobs=blobs,
        jobs=house.jobs,
        reader=house.reader,
        artifacts=Artifacts(
            store=house.store.artifacts,
            jobs=house.store.jobs,
            blobs=blobs,
            max_bytes=10_000,
            keep_seconds=86_400,
        ),
        signals=house.store.signals,
        tails=LogTails(),
        clock=clock,
        secrets=LabSecrets(store=house.store.lab_secrets, sealer=Sealer(bytes(32)), clock=clock),
    )


async def pieces(*texts: bytes) -> AsyncIterator[bytes]:
    for text in texts:
        yield text


async def push(lab: Lab, text: str = '{"job_queue": "q"}') -> str:
    return (await lab.queues.push(read_definition(text), caller=NOBODY)).job.job_id


async def test_what_nobody_posts_to_is_forgotten_with_its_files(
    lab: Lab, blobs: DirectoryBlobs, clock: MovingClock
) -> None:
    job_id = new_id()
    file = await lab.records.put_file(job_id, FileKind.ARTIFACT, pieces(b"abc", b"def"))
    assert [piece async for piece in lab.records.read(file)] == [b"abcdef"]
    await lab.agents.post("old", {"state": "waiting"})
    clock.advance(6 * 86_400)
    await lab.forget()
    assert await lab.records.file(job_id, FileKind.ARTIFACT) is not None
    clock.advance(2 * 86_400)
    await lab.forget()
    assert await lab.records.file(job_id, FileKind.ARTIFACT) is None
    assert await lab.agents.list() == []
    with pytest.raises(BlobNotFound):
        await blobs.read(file.blob_key, 0, 1)


async def test_an_archive_takes_the_blob_of_the_one_before_with_it(lab: Lab, blobs: DirectoryBlobs) -> None:
    job_id = new_id()
    one = await lab.records.put_file(job_id, FileKind.ARTIFACT, pieces(b"one"))
    with pytest.raises(UploadTooLarge):
        await lab.records.put_file(job_id, FileKind.ARTIFACT, pieces(b"x" * 60, b"x" * 60))
    assert await lab.records.file(job_id, FileKind.ARTIFACT) == one
    two = await lab.records.put_file(job_id, FileKind.ARTIFACT, pieces(b"two"))
    assert await lab.records.file(job_id, FileKind.ARTIFACT) == two
    with pytest.raises(BlobNotFound):
        await blobs.read(one.blob_key, 0, 1)


async def test_attachments_that_were_cut_are_uploaded_anew(lab: Lab) -> None:
    job_id = await push(lab, '{"job_queue": "q", "test_data": {"attachments": [{"agent": "a"}]}}')

    async def cut() -> AsyncIterator[bytes]:
        yield b"old" * 10
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await lab.records.attach(await lab.queues.get(job_id), cut())
    assert await lab.records.open_attachments(await lab.queues.get(job_id)) is None
    with pytest.raises(UploadTooLarge):
        await lab.records.attach(await lab.queues.get(job_id), pieces(b"x" * 101))
    await lab.records.attach(await lab.queues.get(job_id), pieces(b"new", b"er"))
    await lab.queues.attached(job_id)
    content = await lab.records.open_attachments(await lab.queues.get(job_id))
    assert content is not None and b"".join([piece async for piece in content]) == b"newer"


async def test_a_follower_of_an_agent_s_job_hears_of_its_output_and_its_end(lab: Lab, house: House) -> None:
    job_id = await push(lab)
    await lab.queues.pop(PopRequest(queues=("q",), agent="a"))
    await lab.records.append_text(job_id, OutputKind.OUTPUT, "one", phase="test", at="2026-01-01T00:00:00Z")
    heard = []
    async for batch in house.reader.read(job_id, follow=True):
        if isinstance(batch, LogEnd):
            assert (batch.job.state, batch.complete) == (JobState.SUCCEEDED, True)
            break
        assert isinstance(batch, LogBatch)
        heard += [record.data for record in batch.records]
        if heard == [b"one"]:
            await lab.records.append_text(job_id, OutputKind.OUTPUT, "two", phase="test", at="2026-01-01T00:00:00Z")
            await lab.queues.post_result(job_id, {"test_status": "0"}, word="complete")
    else:
        raise AssertionError("a read ends with LogEnd")
    assert heard == [b"one", b"two"]


async def test_a_job_that_nobody_takes_ends_when_its_time_is_over(lab: Lab, house: House, clock: MovingClock) -> None:
    waiting = await push(lab)
    attached = await push(lab, '{"job_queue": "q", "test_data": {"attachments": [{"agent": "a"}]}}')
    clock.advance(7 * 86_400 + 1)
    await house.store.dispatch.expire_queued()
    for job_id in (waiting, attached):
        found = await lab.queues.get(job_id)
        assert (found.job.state, found.word) == (JobState.TIMED_OUT, "complete")


async def test_a_runner_of_our_own_shows_whether_it_takes_jobs(lab: Lab, house: House, clock: MovingClock) -> None:
    worker = await house.worker(**{label_of("ours"): SERVED})

    async def shown() -> str:
        (one,) = await lab.agents.serving("ours")
        return one.state

    call = worker.call()
    assert await parked(call)
    assert await shown() == "waiting"
    await house.runners.control.drain(worker.runner.runner_id)
    assert await shown() == "maintenance"
    await asyncio.wait_for(call, SOON)
    clock.advance(3600)
    assert await shown() == "offline"


async def test_a_job_of_another_kind_is_no_job_of_a_queue(lab: Lab, house: House) -> None:
    job = await house.job()
    assert await lab.queues.find(job.job_id) is None
    with pytest.raises(JobNotFound):
        await lab.queues.position(job.job_id)


async def lost(lab: Lab, job_id: str) -> bool:
    await lab.queues.expire()
    return (await lab.queues.get(job_id)).lease_until is None


@pytest.mark.parametrize(("cookie", "peer"), [("a", ""), ("", "10.0.0.1")])
async def test_an_agent_that_asks_is_lost_when_it_asks_no_more(
    lab: Lab, house: House, clock: MovingClock, cookie: str, peer: str
) -> None:
    job_id = await push(lab, '{"job_queue": "q", "global_timeout": 10000}')
    await lab.queues.pop(PopRequest(queues=("q",), agent=cookie, peer="10.0.0.1"))
    await lab.agents.post("a", {"job_id": job_id})
    for _ in range(5):
        await lab.queues.seen(job_id, agent=cookie, peer=peer)
        clock.advance(800)
        assert not await lost(lab, job_id)
    for stranger in (("b", "10.0.0.1"), ("", "10.0.0.2"), ("", "")):
        await lab.queues.seen(job_id, agent=stranger[0], peer=stranger[1])
    clock.advance(101)
    assert await lost(lab, job_id)


async def test_an_agent_that_never_asks_has_the_whole_time_of_its_job(lab: Lab, clock: MovingClock) -> None:
    job_id = await push(lab, '{"job_queue": "q", "global_timeout": 10000}')
    await lab.queues.pop(PopRequest(queues=("q",), peer="10.0.0.1"))
    await lab.queues.seen(job_id, agent="", peer="10.0.0.1")
    clock.advance(10_009)
    assert not await lost(lab, job_id)
    clock.advance(2)
    assert await lost(lab, job_id)


async def test_an_agent_that_gets_a_job_after_another_has_the_whole_time_of_it(lab: Lab, clock: MovingClock) -> None:
    definition = '{"job_queue": "q", "global_timeout": 10000}'
    job_id = await push(lab, definition)
    await lab.queues.pop(PopRequest(queues=("q",), agent="a"))
    await lab.queues.seen(job_id, agent="a", peer="")
    given_back = replace(read_definition(definition), job_id=job_id)
    await lab.queues.push(given_back, caller=NOBODY, give_back=True)
    popped = await lab.queues.pop(PopRequest(queues=("q",)))
    assert popped is not None and popped.job.attempts == 2
    clock.advance(10_009)
    assert not await lost(lab, job_id)
    clock.advance(2)
    assert await lost(lab, job_id)


async def test_a_watcher_beside_a_dead_agent_keeps_its_job_no_longer_than_the_job_may_take(
    lab: Lab, clock: MovingClock
) -> None:
    job_id = await push(lab, '{"job_queue": "q", "global_timeout": 2000}')
    await lab.queues.pop(PopRequest(queues=("q",), peer="10.0.0.1"))
    await lab.agents.post("a", {"job_id": job_id})
    asked = 0
    while not await lost(lab, job_id):
        await lab.queues.seen(job_id, agent="", peer="10.0.0.1")
        clock.advance(300)
        asked += 1
        assert asked < 12
