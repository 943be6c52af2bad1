"""Followers: several at once, late ones, those that go on from a cursor, by every door."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from e2e_following import STDERR, STDOUT, Digests, Followed, by_grpc, by_ndjson, by_sse
from e2e_jobs import produced, producer, script, wait_for
from e2e_server import ServerProcess

from runner_client import AsyncClient, InvalidArgument, NotFound


async def test_followers_by_every_door_get_the_same_while_it_runs(
    client: AsyncClient, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    gate, middle, last = (tmp_path / name for name in ("gate", "middle", "last"))
    text = (
        f"printf 'first\\000\\377'; echo err >&2; {wait_for(gate)}; for i in $(seq 300); do echo line $i; done;"
        f" {wait_for(middle)}; echo more >&2; {wait_for(last)}; printf end; exit 3"
    )
    job = await client.create_job(script(text))
    early = [Followed() for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        group.create_task(by_grpc(client, job.job_id, early[0]))
        group.create_task(by_grpc(client, job.job_id, early[1]))
        group.create_task(by_sse(http, job.job_id, early[2]))
        group.create_task(by_ndjson(http, job.job_id, early[3]))
        for followed in early:
            await asyncio.wait_for(followed.arrived.wait(), 60)
        gate.touch()
        # Late ones join when there is history already, and more to come.
        late = [Followed() for _ in range(3)]
        group.create_task(by_grpc(client, job.job_id, late[0]))
        group.create_task(by_sse(http, job.job_id, late[1]))
        group.create_task(by_ndjson(http, job.job_id, late[2]))
        for followed in late:
            await asyncio.wait_for(followed.arrived.wait(), 60)
        middle.touch()
        last.touch()
    lines = "".join(f"line {number}\n" for number in range(1, 301)).encode()
    for followed in early + late:
        assert followed.bytes_of(STDOUT) == b"first\0\xff" + lines + b"end"
        assert followed.bytes_of(STDERR) == b"err\nmore\n"
        followed.check_order()
        assert followed.records == early[0].records
        assert followed.end["state"] == "STATE_FAILED"
        assert followed.end["outcome"]["kind"] == "KIND_EXITED"
        assert followed.end["outcome"]["exitCode"] == 3
        assert followed.end["complete"] is True


async def test_every_cursor_goes_on_where_it_stands(client: AsyncClient, http: httpx.AsyncClient) -> None:
    job = await client.create_job(script("for i in 1 2 3 4 5; do echo $i; sleep 0.05; done"))
    whole = await by_grpc(client, job.job_id, Followed())
    assert whole.bytes_of(STDOUT) == b"1\n2\n3\n4\n5\n"
    seen = [0]
    for cursor in whole.cursors:
        rests = [
            await by_grpc(client, job.job_id, Followed(), cursor),
            await by_sse(http, job.job_id, Followed(), cursor),
            await by_ndjson(http, job.job_id, Followed(), cursor),
        ]
        for rest in rests:
            assert rest.records == whole.records[len(whole.records) - len(rest.records) :]
            assert rest.end == whole.end
        assert len({len(rest.records) for rest in rests}) == 1
        seen.append(len(whole.records) - len(rests[0].records))
    assert seen == sorted(seen)
    assert seen[-1] == len(whole.records)


async def test_without_follow_a_read_ends_at_what_is_there(client: AsyncClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = await client.create_job(script(f"echo here; {wait_for(gate)}; echo there"))
    async for message in client.follow(job.job_id):
        if message.records:
            break
    parts = [message async for message in client.follow(job.job_id, follow=False)]
    assert b"".join(record.data for part in parts for record in part.records) == b"here\n"
    assert parts[-1].HasField("end")
    assert not parts[-1].end.HasField("outcome")
    gate.touch()
    rest = await by_grpc(client, job.job_id, Followed(), parts[-1].cursor)
    assert rest.bytes_of(STDOUT) == b"there\n"


async def test_pages_are_the_same_log(client: AsyncClient, http: httpx.AsyncClient) -> None:
    job = await client.create_job(script("for i in 1 2 3 4 5 6 7; do echo $i; sleep 0.03; done"))
    whole = await by_grpc(client, job.job_id, Followed())
    sequences, token = [], ""
    while True:
        parameters = {"page_size": "2", "page_token": token}
        page = (await http.get(f"/api/v2/jobs/{job.job_id}/logs", params=parameters)).raise_for_status().json()
        assert len(page["entries"]) <= 2
        sequences += [int(entry["sequence"]) for entry in page["entries"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert sequences == [sequence for _, sequence, _, _ in whole.records]


async def test_only_one_stream_is_a_matter_of_asking(client: AsyncClient) -> None:
    from runner.v1.log_pb2 import LogRecord

    job = await client.create_job(script("echo out; echo err >&2"))
    messages = [part async for part in client.follow(job.job_id, streams=[LogRecord.STREAM_STDERR])]
    assert b"".join(record.data for part in messages for record in part.records) == b"err\n"
    assert messages[-1].HasField("end")


async def test_text_for_people_with_curl(client: AsyncClient, http: httpx.AsyncClient) -> None:
    # é is cut by a pause, and \377 is no UTF-8 at all.
    job = await client.create_job(script(r"printf 'caf\303'; sleep 0.2; printf '\251 \377\n'"))
    await client.wait(job.job_id)
    reply = await http.get(
        f"/api/v2/jobs/{job.job_id}/logs", params={"encoding": "LOG_ENCODING_TEXT", "page_size": "1000"}
    )
    assert "".join(entry["text"] for entry in reply.json()["entries"]) == "café �\n"


async def test_a_cursor_of_another_job_and_an_unknown_job_are_refused(client: AsyncClient) -> None:
    first = await client.create_job(script("echo 1"))
    other = await client.create_job(script("echo 2"))
    followed = await by_grpc(client, first.job_id, Followed())
    await client.wait(other.job_id)
    for cursor in (followed.cursors[-1], "nonsense", "a.b", "x.-1.0", "é.1.1"):
        with pytest.raises(InvalidArgument):
            await by_grpc(client, other.job_id, Followed(), cursor)
    with pytest.raises(NotFound):
        await by_grpc(client, "no-such-job", Followed())


async def _big(server: ServerProcess, size: int) -> None:
    expected = produced(1, size), produced(2, size)
    async with server.client() as client:
        command = await client.run(producer(size))
        first = await Digests(cut=size).follow(client, command.job_id)
        assert first.end is not None
        assert first.end.complete
        assert first.end.outcome.exit_code == 0, first.end
        assert first.size == 2 * size
        assert first.hex() == expected
        # Again, later: whole, and from the middle on behind what was seen up to there.
        assert (await Digests().follow(client, command.job_id)).hex() == expected
        assert first.before is not None
        rest = await first.before.follow(client, command.job_id, first.cursor)
        assert rest.hex() == expected


async def test_20_mb_of_random_bytes_on_both_streams_are_exact(server: ServerProcess) -> None:
    await _big(server, 10 * 1000 * 1000)


@pytest.mark.slow
async def test_200_mb_of_random_bytes_on_both_streams_are_exact(own_server: ServerProcess) -> None:
    own_server.start()
    await _big(own_server, 100 * 1000 * 1000)
