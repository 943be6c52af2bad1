"""Masking secrets in output, against what the supervisor does with the same output anyway: frame it and hash it."""

from __future__ import annotations

import hashlib
import os
import re
import statistics
from base64 import b64encode
from collections.abc import Callable

from benchmarks.figures import Stopwatch
from benchmarks.report import Row
from runner_service.domain.logs import MAX_RECORD_BYTES, LogRecord, LogStream, encode
from runner_service.worker.supervisor.redaction import Forms, Redactor

ROUNDS = 3
LINE = b"2026-11-26 22:00:00 INFO module.name: handled request id=4711 status=200 took 12ms\n"


async def measure(quick: bool) -> list[Row]:
    """Megabytes of ordinary text per second, in reads of 64 KiB."""
    seconds = 0.05 if quick else 0.3
    text = (LINE * 1000)[:MAX_RECORD_BYTES]

    def keep() -> None:
        encode(LogRecord(0, 0, LogStream.STDOUT, text))
        hashlib.sha256(text).digest()

    rows = []
    for count in (0, 1, 10):
        secrets = [b64encode(os.urandom(30)) for _ in range(count)]
        redactor = Redactor(Forms(secrets))
        pattern = re.compile(b"|".join(map(re.escape, Forms(secrets).forms)) or b"(?!)")
        mine, other, one_pattern = [], [], []
        for _ in range(ROUNDS):
            mine.append(_rate(lambda redactor=redactor: redactor.feed(text), seconds))  # type: ignore[misc]
            other.append(_rate(keep, seconds))
            one_pattern.append(_rate(lambda pattern=pattern: pattern.sub(b"***", text), seconds))  # type: ignore[misc]
        rows.append(
            Row(
                what=f"redaction, {count} secrets",
                ours=statistics.median(mine),
                unit="MB/s",
                baseline=statistics.median(other),
                against="framing and hashing",
                how=f"median of {ROUNDS} x {seconds:g} s; one pattern of re: {statistics.median(one_pattern):.0f} MB/s",
            )
        )
    return rows


def _rate(work: Callable[[], object], seconds: float) -> float:
    watch, rounds = Stopwatch(), 0
    while watch.seconds < seconds:
        work()
        rounds += 1
    return rounds * MAX_RECORD_BYTES / 1e6 / watch.seconds
