"""What agents of labs post: output, archives, themselves; and the queues that they advertise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from queue_house import pop, push
from store_house import MovingClock

from runner_service.domain.errors import AgentTaken, InvalidArgument, LabAgentNotFound, OutputTooLarge
from runner_service.domain.ids import new_id
from runner_service.domain.logs import decode
from runner_service.domain.queues import FileKind, Fragment, LabFile, OutputKind, ProvisionLog
from runner_service.store import SqlStore

OUTPUT, SERIAL = OutputKind.OUTPUT, OutputKind.SERIAL
MUCH = 1 << 20


def fragment(number: int, data: str, phase: str = "test", at: str = "2026-01-01T00:00:00Z") -> Fragment:
    return Fragment(number=number, phase=phase, at=at, data=data)


async def append(store: SqlStore, job_id: str, *pieces: Fragment, kind: OutputKind = OUTPUT) -> list[bool]:
    return [(await store.lab_records.append(job_id, kind, piece, limit_bytes=MUCH)).new for piece in pieces]


async def fragments(store: SqlStore, job_id: str, kind: OutputKind, **options: Any) -> list[Fragment]:
    found = await store.lab_records.fragments(job_id, kind, **{"max_bytes": MUCH, **options})
    return list(found)


async def test_a_fragment_is_stored_once_and_late_ones_come_in_order(store: SqlStore) -> None:
    job_id = new_id()
    two, zero, one = fragment(2, "c"), fragment(0, "a"), fragment(1, "b", phase="provision")
    assert await append(store, job_id, two, zero, two, one, zero) == [True, True, False, True, False]
    assert await fragments(store, job_id, OUTPUT) == [zero, one, two]
    assert await fragments(store, job_id, OUTPUT, phase="test", start=1) == [two]
    assert await fragments(store, job_id, SERIAL) == []


async def test_the_same_number_in_another_phase_or_kind_is_another_fragment(store: SqlStore) -> None:
    job_id = new_id()
    assert await append(store, job_id, fragment(0, "a"), fragment(0, "b", phase="setup")) == [True, True]
    assert await append(store, job_id, fragment(0, "s"), kind=SERIAL) == [True]


async def test_text_without_a_number_takes_the_next_one(store: SqlStore) -> None:
    job_id = new_id()
    await append(store, job_id, fragment(4, "x"), fragment(-1, "y"), fragment(-1, "z", phase="reserve"))
    found = await fragments(store, job_id, OUTPUT)
    assert [(piece.number, piece.data, piece.phase) for piece in found] == [
        (4, "x", "test"),
        (5, "y", "test"),
        (6, "z", "reserve"),
    ]


async def test_fragments_are_read_in_pieces_of_about_a_size(store: SqlStore) -> None:
    job_id = new_id()
    await append(store, job_id, *(fragment(number, "x" * 10) for number in range(6)))
    assert len(await fragments(store, job_id, OUTPUT, max_bytes=35)) == 3
    assert len(await fragments(store, job_id, OUTPUT, start=3, max_bytes=5)) == 1


async def test_fragments_since_a_time(store: SqlStore) -> None:
    job_id = new_id()
    early, late = fragment(0, "a"), fragment(1, "b", at="2026-01-01T00:00:05Z")
    await append(store, job_id, early, late)
    assert await fragments(store, job_id, OUTPUT, since="2026-01-01T00:00:05Z") == [late]


async def test_each_reader_gets_everything_once_late_fragments_too(store: SqlStore) -> None:
    job_id = new_id()
    await append(store, job_id, fragment(1, "b"), fragment(2, "c"))

    async def unread(reader: str, max_bytes: int = MUCH) -> list[str]:
        return list(await store.lab_records.unread(job_id, OUTPUT, reader=reader, max_bytes=max_bytes))

    assert await unread("me") == ["b", "c"]
    assert await unread("me") == []
    await append(store, job_id, fragment(0, "a"))
    assert await unread("me") == ["a"]
    assert await unread("you", max_bytes=1) == ["b"]
    assert await unread("you", max_bytes=1) == ["c"]
    assert await unread("you") == ["a"]


async def test_many_at_once_lose_nothing(store: SqlStore) -> None:
    job_id = new_id()
    await asyncio.gather(*(append(store, job_id, fragment(number, f"{number} ")) for number in range(40)))
    await asyncio.gather(*(append(store, job_id, fragment(-1, "!")) for _ in range(10)))
    found = await fragments(store, job_id, OUTPUT)
    assert [piece.number for piece in found] == list(range(50))
    assert len(await store.lab_records.unread(job_id, OUTPUT, reader="me", max_bytes=MUCH)) == 50


async def test_output_is_capped(store: SqlStore) -> None:
    job_id = new_id()
    await store.lab_records.append(job_id, OUTPUT, fragment(0, "x" * 10), limit_bytes=12)
    with pytest.raises(OutputTooLarge):
        await store.lab_records.append(job_id, OUTPUT, fragment(1, "xyz"), limit_bytes=12)
    assert len(await fragments(store, job_id, OUTPUT)) == 1


async def test_output_of_a_running_job_is_in_its_log_too(store: SqlStore) -> None:
    job_id = (await push(store)).job.job_id
    await append(store, job_id, fragment(0, "before"))
    await pop(store)
    stored = await store.lab_records.append(job_id, OUTPUT, fragment(1, "größer"), limit_bytes=MUCH)
    await append(store, job_id, fragment(1, "again"), fragment(2, "x" * 100_000))
    attempt_id = (await store.jobs.get(job_id)).attempt_id
    assert stored.attempt_id == attempt_id
    chunks = await store.logs.read(attempt_id, sequence=0, max_bytes=MUCH)
    logged = b"".join(record.data for chunk in chunks for record, _ in decode(chunk.journal))
    assert logged == "größer".encode() + b"x" * 100_000
    await store.queues.post_result(job_id, {}, word="complete")
    status = await store.logs.status(attempt_id)
    assert status.sealed and status.complete
    assert await append(store, job_id, fragment(3, "late")) == [True]
    assert (await store.logs.status(attempt_id)).next_sequence == status.next_sequence


async def test_an_archive_takes_the_place_of_the_one_before(store: SqlStore) -> None:
    job_id = new_id()
    one, two = (LabFile(blob_key=f"lab/aa/{name}", size=3, sha256="00", media_type="x/y") for name in "ab")
    assert await store.lab_records.file(job_id, FileKind.ARTIFACT) is None
    assert await store.lab_records.put_file(job_id, FileKind.ARTIFACT, one) == ""
    assert await store.lab_records.put_file(job_id, FileKind.ARTIFACT, two) == one.blob_key
    assert await store.lab_records.file(job_id, FileKind.ARTIFACT) == two
    assert await store.lab_records.file(new_id(), FileKind.ARTIFACT) is None


async def test_what_nobody_posts_to_any_more_goes_with_its_files(store: SqlStore, clock: MovingClock) -> None:
    old, young = new_id(), new_id()
    await store.queues.post_result(old, {"exit_code": "0"}, word=None)
    await append(store, old, fragment(0, "a"))
    await store.lab_records.put_file(old, FileKind.ARTIFACT, LabFile(blob_key="lab/aa/x", size=1, sha256=""))
    clock.advance(120)
    await append(store, young, fragment(0, "a"))
    assert await store.lab_records.expire(touched_before=clock.now(), limit=9) == (1, ["lab/aa/x"])
    assert await store.queues.results(old) == {}
    assert await fragments(store, old, OUTPUT) == []
    assert len(await fragments(store, young, OUTPUT)) == 1


async def test_agents_are_made_by_what_they_post_and_keep_the_rest(store: SqlStore, clock: MovingClock) -> None:
    with pytest.raises(LabAgentNotFound):
        await store.lab_agents.get("a")
    await store.lab_agents.post("a", {"state": "waiting", "queues": ("x", "y")}, log=["one"])
    clock.advance(1)
    await store.lab_agents.post("a", {"location": "here"}, log=[str(number) for number in range(120)])
    agent = await store.lab_agents.get("a")
    assert (agent.state, agent.queues, agent.location, agent.updated_at) == ("waiting", ("x", "y"), "here", clock.now())
    assert agent.log == tuple(str(number) for number in range(20, 120))
    (listed,) = await store.lab_agents.list()
    assert listed.log == ()


async def test_an_agent_belongs_to_its_first_credential(store: SqlStore) -> None:
    await store.lab_agents.post("a", {}, client_id="one")
    await store.lab_agents.post("a", {})
    with pytest.raises(AgentTaken):
        await store.lab_agents.post("a", {}, client_id="two")


async def test_provisions_make_streaks_and_the_last_are_kept(store: SqlStore) -> None:
    for code in (1, 0, 0):
        await store.lab_agents.add_provision_log("a", ProvisionLog(job_id=new_id(), exit_code=code, detail="d"))
    agent = await store.lab_agents.get("a")
    assert (agent.streak_type, agent.streak_count) == ("pass", 2)
    for _ in range(100):
        await store.lab_agents.add_provision_log("a", ProvisionLog(job_id=new_id(), exit_code=7))
    logs = await store.lab_agents.provision_logs("a")
    assert [log.exit_code for log in logs] == [7] * 100
    assert (await store.lab_agents.get("a")).streak_count == 100


async def test_queues_and_images_of_all_agents_add_up(store: SqlStore) -> None:
    await store.lab_agents.advertise({"a": "one", "b": "two"})
    await store.lab_agents.advertise({"b": "three"})
    await store.lab_agents.set_images({"b": '{"x": 1.10}', "c": "{}"})
    assert await store.lab_agents.advertised() == {"a": "one", "b": "three"}
    assert await store.lab_agents.images("b") == '{"x": 1.10}'
    assert await store.lab_agents.images("a") == ""


async def test_queues_that_nobody_tells_of_or_serves_are_forgotten(store: SqlStore, clock: MovingClock) -> None:
    agents = store.lab_agents
    await agents.advertise({"old": "one", "served": "two", "owned": "three", "told": "four"})
    await agents.set_images({"old": "{}"})
    await agents.restrict("owned", "owner")
    clock.advance(100)
    await agents.post("a", {"queues": ("served",)})
    await agents.set_images({"told": "{}"})
    await agents.expire(updated_before=clock.now() - 50 * 1_000_000)
    assert await agents.advertised() == {"served": "two", "told": "four"}
    assert (await agents.images("old"), await agents.restricted()) == ("", {"owned": ["owner"]})


async def test_what_an_agent_says_beyond_the_known_is_kept_as_it_came_and_bounded(store: SqlStore) -> None:
    await store.lab_agents.post("a", {"state": "waiting"}, extra={"rack": "1.10"})
    await store.lab_agents.post("a", {}, extra={"shelf": "12345678901234567890"})
    agent = await store.lab_agents.get("a")
    assert (agent.state, agent.extra) == ("waiting", '{"rack":1.10,"shelf":12345678901234567890}')
    with pytest.raises(InvalidArgument):
        await store.lab_agents.post("a", {"state": "no"}, extra={"much": f'"{"x" * 70_000}"'})
    assert await store.lab_agents.get("a") == agent


async def test_a_queue_without_its_last_owner_opens_only_when_told(store: SqlStore) -> None:
    agents = store.lab_agents
    for client in ("one", "two", "two"):
        await agents.restrict("q", client)
    assert await agents.restricted() == {"q": ["one", "two"]}
    assert await agents.release("q", "one") and not await agents.release("q", "one")
    assert await agents.owners("q") == ["two"]
    assert not await agents.release("q", None)
    assert await agents.release("q", "two")
    assert await agents.owners("q") == []
    assert await agents.release("q", None)
    assert await agents.owners("q") is None
    assert not await agents.release("q", "one")
