"""The worker's own numbers, in seconds and bytes. What the server decides (lease, park) comes with its replies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runner_service.domain.logs import HEADER_BYTES, MAX_RECORD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimes:
    """Seconds, all of them settable so that tests need not wait."""

    first_flush: float = 0.05
    """A job that ends within this time after its first output is told by its report alone, without a log stream."""
    interval_followed: float = 0.02
    """Between two flushes of a log that somebody follows; also the silence after which output goes out at once."""
    interval_unfollowed: float = 1.0
    """Between two flushes of a log that nobody follows."""
    silence_unfollowed: float = 0.2
    """After this long without output, output goes out at once though nobody follows: whoever polls sees it."""
    ack_timeout: float = 30.0
    """A log stream on which nothing is acknowledged for this long is cut and opened again."""
    sync_margin: float = 10.0
    """A Sync may take a lease and this long; the server parks it for less than a lease."""
    call_timeout: float = 20.0
    """Every other call."""
    retry_first: float = 0.1
    """Most of the first pause before a call is repeated; the second may take twice as long, and so on."""
    retry_most: float = 5.0
    """Most of any pause before a call is repeated."""
    retry_most_local: float = 0.5
    """The same when the server is on this machine and a try costs nothing."""
    deadline_step: float = 1.0
    """Self-stop deadlines are handed to the executor when they have moved by this much."""
    orphan: float = 60.0
    """A local worker that has nothing left and no server for this long ends."""
    stop_budget: float = 15.0
    """A worker that was told to stop waits at most this long for its jobs to end."""
    farewell: float = 3.0
    """After that, at most this long for the server to take the last reports."""


INLINE_LOG_BYTES = 64 * 1024
"""An ended attempt with less journal than this unsent sends it in its report."""
BATCH_BYTES = 3 * (MAX_RECORD_BYTES + HEADER_BYTES)
"""Of journal in one batch: whole records of the largest size, together below a stored chunk of 256 KiB."""
ACKNOWLEDGE_BYTES = 1 << 20
"""The executor hears of acknowledged journal in steps of this, and at the end of each burst of more than 64 KiB."""
WINDOW = 8
"""Batches of one log that may be under way without an acknowledgement."""
REPORT_BATCH = 256
"""Attempts in one report call."""
REPORT_BATCH_BYTES = 1 << 20
"""Journal bytes in one report call, so that it stays below every receiver's limit."""


class ExitCode(IntEnum):
    """How a worker process ends."""

    OK = 0
    """It was told to stop, or was a local worker with no server and nothing left."""
    USAGE = 2
    """Wrong arguments, or the server speaks TLS and this side does not, or the reverse."""
    REFUSED = 3
    """The server refuses its credential or join token."""
    STALE = 4
    """A later worker has the identity."""
    LOCKED = 5
    """Another worker lives on this data directory."""
    EXECUTOR = 6
    """The executor cannot be started."""
    DELETED = 8
    """Its runner was deleted."""
    RESTART = 7
    """The server wants it to begin anew: `main.work` does."""
