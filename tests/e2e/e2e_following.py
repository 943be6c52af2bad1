"""Followers by gRPC, SSE and NDJSON that all end up with the same thing to compare."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx

from runner.v1.log_pb2 import LogEnd, LogRecord
from runner.v1.log_stream_service_pb2 import StreamLogsResponse
from runner_client import AsyncClient

STDOUT, STDERR = "STREAM_STDOUT", "STREAM_STDERR"


@dataclass
class Followed:
    """What a follower got."""

    records: list[tuple[str, int, str, bytes]] = field(default_factory=list)
    """Attempt, sequence, stream, bytes."""
    cursors: list[str] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    """As JSON; empty when none came."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first record."""

    def bytes_of(self, stream: str) -> bytes:
        return b"".join(data for _, _, of, data in self.records if of == stream)

    def check_order(self) -> None:
        """Sequences count from where it began, without a gap or a duplicate, attempt by attempt."""
        by_attempt: dict[str, list[int]] = defaultdict(list)
        for attempt, sequence, _, _ in self.records:
            by_attempt[attempt].append(sequence)
        for numbers in by_attempt.values():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    def take(self, message: dict[str, Any]) -> None:
        """One message of a stream, as JSON."""
        assert not self.end, "a message came behind the end"
        for record in message.get("records", ()):
            data = base64.b64decode(record["data"])
            self.records.append((message["attemptId"], int(record["sequence"]), record["stream"], data))
        self.cursors.append(message["cursor"])
        self.end = message.get("end") or {}
        if self.records:
            self.arrived.set()


class Digests:
    """Digests of both streams of a log that is too large to keep."""

    def __init__(self, *, cut: int = 0) -> None:
        """``cut``: where to keep a cursor, with what came before it: behind so many bytes."""
        self._digests = {STDOUT: sha256(), STDERR: sha256()}
        self._cut = cut
        self.size = 0
        self.cursor = ""
        self.before: Digests | None = None
        self.end: LogEnd | None = None

    def copy(self) -> Digests:
        twin = Digests()
        twin._digests = {stream: digest.copy() for stream, digest in self._digests.items()}
        twin.size = self.size
        return twin

    async def follow(self, client: AsyncClient, job_id: str, cursor: str = "") -> Digests:
        """Follows to the end, and goes on from what was seen before."""
        expected = None
        async for message in client.follow(job_id, cursor=cursor):
            for record in message.records:
                assert expected in (None, record.sequence), "a gap or a duplicate"
                expected = record.sequence + 1
                self._digests[LogRecord.Stream.Name(record.stream)].update(record.data)
                self.size += len(record.data)
            if self._cut and self.size >= self._cut and not self.cursor:
                self.cursor, self.before = message.cursor, self.copy()
            self.end = message.end if message.HasField("end") else None
        return self

    def hex(self) -> tuple[str, str]:
        return self._digests[STDOUT].hexdigest(), self._digests[STDERR].hexdigest()


async def by_grpc(client: AsyncClient, job_id: str, followed: Followed, cursor: str = "") -> Followed:
    from google.protobuf.json_format import MessageToDict

    message: StreamLogsResponse
    async for message in client.follow(job_id, cursor=cursor):
        followed.take(MessageToDict(message, always_print_fields_with_no_presence=True))
    return followed


async def by_sse(http: httpx.AsyncClient, job_id: str, followed: Followed, cursor: str = "") -> Followed:
    headers = {"accept": "text/event-stream"} | ({"last-event-id": cursor} if cursor else {})
    async for event in _sse_events(http, f"/api/v2/jobs/{job_id}/logs:stream?follow=true", headers):
        message = json.loads(event["data"])
        assert event["id"] == message["cursor"]
        followed.take(message)
    return followed


async def by_ndjson(http: httpx.AsyncClient, job_id: str, followed: Followed, cursor: str = "") -> Followed:
    url = f"/api/v2/jobs/{job_id}/logs:stream"
    parameters = {"follow": "true", "cursor": cursor}
    async with http.stream("GET", url, params=parameters, headers={"accept": "application/x-ndjson"}) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("application/x-ndjson")
        async for line in reply.aiter_lines():
            followed.take(json.loads(line))
    return followed


async def _sse_events(http: httpx.AsyncClient, url: str, headers: dict[str, str]) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async with http.stream("GET", url, headers=headers) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        async for line in reply.aiter_lines():
            if not line:
                if event:
                    yield event
                event = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                event[name] = value
