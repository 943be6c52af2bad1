"""Whole outputs as some APIs show them: bounded, and only ever growing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from runner_service.domain.jobs import Job
from runner_service.domain.logs import LogStream
from runner_service.services.logs.follow import LogReader

TAIL_BYTES = 1024 * 1024
"""Shown of the end of an output that is over the limit, once it is complete."""


@dataclass(slots=True)
class _Output:
    """One stream, cut to a head and a tail."""

    room: int
    head: list[bytes] = field(default_factory=list)
    tail: deque[bytes] = field(default_factory=deque)
    tail_size: int = 0
    missing: int = 0
    """Bytes between head and tail."""

    def add(self, data: bytes) -> None:
        if not self.missing and not self.tail and self.room > 0:
            self.head.append(data[: self.room])
            data = data[self.room :] if len(data) > self.room else b""
            self.room -= len(self.head[-1])
        if data:
            self.tail.append(data)
            self.tail_size += len(data)
            while self.tail_size - len(self.tail[0]) >= TAIL_BYTES:
                dropped = len(self.tail.popleft())
                self.tail_size -= dropped
                self.missing += dropped

    def add_gap(self, size: int) -> None:
        """Bytes that were never kept: what comes behind is tail."""
        self.missing += size + self.tail_size
        self.tail.clear()
        self.tail_size = 0

    def show(self, *, complete: bool) -> bytes:
        """The head while it can still grow; with marker and tail once it is complete."""
        head = b"".join(self.head)
        if not complete or not (self.missing or self.tail):
            return head
        marker = b"\n[... %d bytes left out ...]\n" % self.missing if self.missing else b""
        return head + marker + b"".join(self.tail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a job wrote so far."""

    stdout: bytes
    stderr: bytes


async def read_output(reader: LogReader, job: Job, *, limit: int) -> Output:
    """Reads standard output and error of the newest attempt: at most ``limit`` bytes of each, and once the job is
    terminal the last of what is beyond. What is shown of a job that runs only grows."""
    outputs = {LogStream.STDOUT: _Output(limit), LogStream.STDERR: _Output(limit)}
    async for batch in reader.read_newest(job):
        for record in batch.records:
            if record.stream is LogStream.GAP:
                # The journal does not say of which stream the bytes were: both show it.
                for output in outputs.values():
                    output.add_gap(record.gap_bytes)
            elif record.stream in outputs:
                outputs[record.stream].add(record.data)
        if not job.state.terminal and all(output.room <= 0 for output in outputs.values()):
            break
    complete = job.state.terminal
    return Output(
        stdout=outputs[LogStream.STDOUT].show(complete=complete),
        stderr=outputs[LogStream.STDERR].show(complete=complete),
    )
