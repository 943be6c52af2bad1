"""What jobs of the tests run."""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path
from random import Random

from runner.v1.job_pb2 import JobSpec, RetryPolicy, Step

CHUNK = 256 * 1024


def script(text: str, *, max_attempts: int = 1, labels: dict[str, str] | None = None) -> JobSpec:
    """A job of one step for `/bin/sh -c`."""
    return JobSpec(steps=[Step(script=text)], required_labels=labels, retry=RetryPolicy(max_attempts=max_attempts))


def wait_for(gate: Path) -> str:
    """Shell that waits until the file is there."""
    return f"while [ ! -e '{gate}' ]; do sleep 0.02; done"


PRODUCER = """
import os, random, sys, threading
size, chunk = int(sys.argv[1]), int(sys.argv[2])
def write(stream):
    source, left = random.Random(stream), size
    while left:
        data = source.randbytes(min(chunk, left))
        left -= len(data)
        while data:
            data = data[os.write(stream, data):]
threads = [threading.Thread(target=write, args=(stream,)) for stream in (1, 2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def producer(size: int) -> list[str]:
    """A command that writes ``size`` bytes, always the same, on each of both streams at the same time."""
    return [sys.executable, "-I", "-S", "-c", PRODUCER, str(size), str(CHUNK)]


def produced(stream: int, size: int) -> str:
    """The sha256 of what a producer writes on a stream."""
    source, digest, left = Random(stream), sha256(), size
    while left:
        data = source.randbytes(min(CHUNK, left))
        left -= len(data)
        digest.update(data)
    return digest.hexdigest()
