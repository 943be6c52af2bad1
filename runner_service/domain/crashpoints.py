"""Named places in every commit path at which the fault suite kills the process, as a crash there would.

Nothing arms them but a test, in its own process, before it runs the service in a fork of it. Where none is armed,
passing one costs a look into an empty dictionary.
"""

from __future__ import annotations

import os
import signal

SERVER = (
    "create.before_commit",
    "create.after_commit",
    "cancel.before_commit",
    "cancel.after_commit",
    "claim.before_commit",
    "claim.after_commit",
    "beat.before_commit",
    "beat.after_commit",
    "report.before_commit",
    "report.after_commit",
    "append.before_commit",
    "append.after_commit",
)
"""Before the transaction is durable, and after that but before anybody was told."""
WORKER = (
    "worker.offered",
    "worker.ordered",
    "worker.started",
    "worker.acknowledged",
    "worker.ended",
    "worker.reported",
)
"""Holds an offer; was told to run it; the executor has accepted it; the server has a part of the log; it has ended; the
server has taken the report."""
SUPERVISOR = (
    "supervisor.recorded",
    "supervisor.spawned",
    "supervisor.written",
    "supervisor.ended",
    "supervisor.told",
)
"""The start is on disk; the process exists; output is in the journal; the end is on disk; the worker was told of it."""

_armed: dict[str, int] = {}


def arm(name: str, passes: int = 1) -> None:
    """Kills this process, or one forked from it, with -9 when it passes ``name`` for the so-manieth time.

    Raises:
        ValueError: There is no such point.
    """
    if name not in SERVER + WORKER + SUPERVISOR:
        raise ValueError(name)
    _armed[name] = passes


def reached(name: str) -> None:
    """This process is at ``name``."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
