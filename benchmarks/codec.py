"""The gateway's JSON codec against protobuf's own json_format, on the same message."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable

from google.protobuf import json_format

from benchmarks.figures import Stopwatch
from benchmarks.report import Goal, Row
from benchmarks.sample_job import sample_job
from gateway.codec import Decoder, Encoder, Style
from runner.v1.job_pb2 import Job

ROUNDS = 5


async def measure(quick: bool) -> list[Row]:
    """Messages per second out and in; both sides take turns."""
    seconds = 0.08 if quick else 0.4
    job, descriptor = sample_job(), Job.DESCRIPTOR
    encoder, decoder = Encoder(Style()), Decoder(Style())
    text = encoder.dumps(job)
    into, parse = decoder.into(descriptor), decoder.parser(descriptor)

    def read() -> Job:
        message = Job()
        into(message, parse(text))
        return message

    def print_theirs() -> str:
        # With the fields that we print too: the same members, or it would have less to do.
        return json_format.MessageToJson(job, indent=None, always_print_fields_with_no_presence=True)

    if read() != job or json_format.Parse(text, Job()) != job or json.loads(text) != json.loads(print_theirs()):
        raise RuntimeError("the codecs disagree")
    pairs: list[tuple[str, float, Callable[[], object], Callable[[], object]]] = [
        ("message to JSON", 3.5, lambda: encoder.dumps(job), print_theirs),
        ("JSON to message", 7.0, read, lambda: json_format.Parse(text, Job())),
    ]
    rows = []
    for what, aim, ours, theirs in pairs:
        mine, other = [], []
        for _ in range(ROUNDS):
            mine.append(_rate(ours, seconds))
            other.append(_rate(theirs, seconds))
        rows.append(
            Row(
                what=f"codec, {what}",
                ours=statistics.median(mine),
                unit="/s",
                baseline=statistics.median(other),
                against="json_format",
                goal=Goal("ratio", "higher", aim=aim),
                how=f"median of {ROUNDS} x {seconds:g} s, {len(text)} bytes",
            )
        )
    return rows


def _rate(call: Callable[[], object], seconds: float) -> float:
    for _ in range(50):
        call()
    watch, count = Stopwatch(), 0
    while (spent := watch.seconds) < seconds:
        for _ in range(50):
            call()
        count += 50
    return count / spent
