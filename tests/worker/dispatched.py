"""What `dispatch_server` knows of one attempt; tests look at it and change it directly."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from runner.v1 import input_pb2, job_pb2, log_pb2, outcome_pb2
from runner_service.domain.ids import new_id


@dataclass(eq=False)
class Attempt:
    spec: job_pb2.JobSpec
    attempt_id: str = field(default_factory=new_id)
    fence: int = 1
    self_stop: float = 600.0
    state: str = "QUEUED"
    runner_id: str = ""
    came_with: int = 0
    """Until a list has shown it: the report whose answer had it started."""
    cancel: str | None = None
    records: list[log_pb2.LogRecord] = field(default_factory=list)
    outcome: outcome_pb2.Outcome | None = None
    seal: log_pb2.LogSeal | None = None
    complete: bool = False
    reports: int = 0
    streams: int = 0
    input: list[input_pb2.InputRecord] = field(default_factory=list)
    """Of data and ends alone."""
    written: int = 0
    feeds: list[int] = field(default_factory=list)
    """From where each input stream was asked to begin."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    logged: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def data(self) -> bytes:
        return b"".join(record.data for record in self.records)

    def append(self, records: list[log_pb2.LogRecord]) -> None:
        for record in records:
            if record.sequence == len(self.records):
                self.records.append(record)
                self.logged.set()

    def fits(self, seal: log_pb2.LogSeal) -> bool:
        return seal.records == len(self.records)
