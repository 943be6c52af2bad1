"""The jobs of a schedule: each writes down that it runs, notices another run of itself, and has a known output."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from docker_engine import IMAGE

from runner.v1.job_pb2 import Container, Job, JobSpec, LossPolicy, RetryPolicy, Step
from runner.v1.log_pb2 import LogRecord
from runner.v1.outcome_pb2 import Outcome

KINDS = (
    "plain", "plain", "halves", "stubborn", "leaky", "hidden", "retried", "repeated", "endless", "talk", "terminal",
)  # fmt: skip
OUTPUT = (LogRecord.STREAM_STDOUT, LogRecord.STREAM_PTY)
FROM_OUTSIDE = tuple(f"{path}:{path}:ro" for path in ("/usr", "/lib", "/lib64") if Path(path).exists())
"""What containers borrow of the machine: the image has neither flock nor setsid."""
PIECE = 2_000
"""Bytes of input that are given at once."""


@dataclass
class Asked:
    """One job of a schedule."""

    number: int
    spec: JobSpec
    out: bytes
    """What it writes to standard output, or to its terminal, all of it, if nobody ends it."""
    code: int = 0
    runs: int = 1
    """How often it is to be run if nobody ends it and nothing is lost."""
    repeated: bool = False
    """What is lost of it is run again."""
    given: bytes = b""
    """Its input."""
    cancel_after: float | None = None
    """Seconds from its making."""
    job: Job | None = None
    cancelled: bool = False
    """A cancel was accepted."""
    got: dict[str, bytearray] = field(default_factory=dict)
    """By attempt: its output as a follower read it."""
    heard: bytearray = field(default_factory=bytearray)
    """Its output as the one that gave the input heard it, over all of its connections."""
    sequences: dict[str, int] = field(default_factory=dict)
    complete: bool = False
    faults: list[str] = field(default_factory=list)
    """What the follower saw that must not be."""


def ask(number: int, kind: str, dice: Random, notes: Path, token: str) -> Asked:
    """A job of a kind, the rest of which the dice decide.

    Before anything else it takes a lock that all of its processes hold until they are dead, and says when another one
    has it; then it writes down that it runs.
    """
    begin = f"exec 9>>{notes}-lock-{number}; flock -n 9 || echo {number} >> {notes}-twice; echo {number} >> {notes}; "
    lines = dice.choice([1, 30, 300, 3000])
    text = "".join(f"{line}\n" for line in range(number, number + lines)).encode()
    code = dice.choice([0, 0, 0, 3])
    asked = Asked(number, JobSpec(), text, code)
    pause = f"sleep {dice.choice([0.05, 0.2, 0.5])}"
    write = f"seq {number} {number + lines - 1}"
    if kind == "plain":
        body = f"{write}; exit {code}"
    elif kind == "halves":
        body = f"{write}; {pause}; {write}; exit {code}"
        asked.out = text * 2
    elif kind == "stubborn":  # passes over TERM and has a grandchild in a session of its own that does too
        body = f"trap '' TERM; {write}; setsid sleep 1000 & {pause}; sleep 1000"
        asked.cancel_after = dice.uniform(0.05, 0.8)
    elif kind == "leaky":  # leaves a process behind that holds the pipe
        body = f"sleep 1000 & {write}; exit {code}"
    elif kind == "hidden":  # double fork, own session, no environment
        body = f"(setsid env -i sleep 1000.{token[:9]} &) ; {write}; {pause}; exit {code}"
    elif kind == "retried":
        body = f"{write}; {pause}; exit 7"
        asked.code, asked.runs = 7, 3
    elif kind == "repeated":  # is run again whenever it is lost
        body = f"{write}; {pause}; exit {code}"
        asked.code, asked.repeated = code, True
        asked.spec.loss.CopyFrom(LossPolicy(kind=LossPolicy.KIND_RETRY, idempotent=True))
    elif kind == "talk":
        body = f"cat; exit {code}"
        asked.out = asked.given = text
        asked.spec.stdin = JobSpec.STDIN_PIPE
    elif kind == "terminal":
        body = f"stty raw -echo; echo up; head -c {len(text)}; exit {code}"
        asked.out, asked.given = b"up\n" + text, text
        asked.spec.stdin = JobSpec.STDIN_PTY
    else:
        body = f"{write}; sleep 1000"
        asked.cancel_after = dice.uniform(0.0, 0.8)
    most = 20 if asked.repeated else asked.runs
    asked.spec.MergeFrom(
        JobSpec(
            steps=[Step(script=begin + body)],
            environment={"FAULTS_TOKEN": token},
            retry=RetryPolicy(max_attempts=most),
        )
    )
    if asked.repeated:  # Only a loss is followed by another attempt, an exit is its answer.
        asked.spec.retry.rules.add(kind=Outcome.KIND_LOST)
    asked.spec.kill_grace.FromMilliseconds(200)
    return asked


def contain(asked: Asked, notes: Path) -> None:
    """Has it run in a container, in which it finds the lock, and the place where it writes down that it runs."""
    volumes = [f"{notes.parent}:{notes.parent}", *FROM_OUTSIDE]
    asked.spec.container.CopyFrom(Container(image=IMAGE, network="none", volumes=volumes))
    asked.spec.environment["PATH"] = "/bin:/usr/bin"
    if asked.repeated:  # Also when its engine dies.
        asked.spec.retry.rules.add(kind=Outcome.KIND_INFRASTRUCTURE)
