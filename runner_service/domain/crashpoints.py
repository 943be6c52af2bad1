"""Named places in every commit path at which the fault suite kills the process, as a crash there would.

Nothing arms them but a test, in its own process, before it runs the service in a fork of it. Where none is armed,
passing one costs a look into an empty dictionary.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

JOB_COMMITS = (
    "jobs.create",
    "jobs.cancel",
    "claims.claim_all",
    "dispatch.beat",
    "exchanges.exchange_all",
    "dispatch.release_unconfirmed",
    "dispatch.expire_leases",
    "dispatch.expire_queued",
    "dispatch.renew_leases",
    "logs.append",
    "logs.seal",
    "logs.archive",
    "logs.drop_chunks",
    "logs.forget_rows",
    "retention.drop_jobs",
    "inputs.append",
    "inputs.advance",
    "inputs.discard",
    "artifacts.begin",
    "artifacts.add_part",
    "artifacts.finish",
    "artifacts.drop",
    "artifacts.expire",
)
"""The transactions that a job's life is made of."""
OTHER_COMMITS = (
    "agents.create",
    "agents.measure",
    "agents.record",
    "agents.remove",
    "agent_reports.report_all",
    "agent_reports.expire",
    "agent_reports.purge",
    "answers.begin",
    "answers.keep",
    "answers.drop",
    "audit.append",
    "audit.purge",
    "credentials.add_key",
    "credentials.revoke_key",
    "credentials.put_client",
    "credentials.delete_client",
    "credentials.add_token",
    "credentials.touch_token",
    "credentials.revoke_token",
    "credentials.revoke_tokens",
    "credentials.purge_tokens",
    "images.put",
    "images.untag",
    "lab_agents.post",
    "lab_agents.add_provision_log",
    "lab_agents.advertise",
    "lab_agents.set_images",
    "lab_agents.restrict",
    "lab_agents.release",
    "lab_agents.expire",
    "lab_records.append",
    "lab_records.put_file",
    "lab_records.unread",
    "lab_records.note_read",
    "lab_records.expire",
    "lab_secrets.put",
    "lab_secrets.take",
    "lab_secrets.drop",
    "lab_secrets.expire",
    "queues.push_all",
    "queues.pop_all",
    "queues.renew",
    "queues.renew_all",
    "queues.set_attachments",
    "queues.expire",
    "queue_results.post_result",
    "runners.change",
    "runner_control.advance",
    "runner_control.drop",
    "runner_control.save_check",
    "runner_events.expire",
    "samples.add",
    "samples.expire",
    "secrets.put",
    "secrets.drop",
    "worker_credentials.confirm",
    "worker_credentials.register_once",
    "worker_credentials.renew",
)
"""Each is the whole of what it does."""
BEFORE, AFTER = "before_commit", "after_commit"
"""All is written, and not durable; it is durable, and nobody was told. Only a transaction that writes passes them."""
SERVER = tuple(f"{path}.{when}" for path in JOB_COMMITS + OTHER_COMMITS for when in (BEFORE, AFTER))
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
WORKER_CREDENTIALS = ("worker.given_credential", "worker.kept_credential")
"""Was told its next credential; has it on disk and has not shown it. Passed once in half a day."""
SUPERVISOR = (
    "supervisor.recorded",
    "supervisor.spawned",
    "supervisor.written",
    "supervisor.ended",
    "supervisor.told",
)
"""The start is on disk; the process exists; output is in the journal; the end is on disk; the worker was told of it."""

_armed: dict[str, int] = {}
_held_seconds = 0.0


def arm(name: str, passes: int = 1, held_seconds: float = 0.0) -> None:
    """Kills this process, or one forked from it, with -9 when it passes ``name`` for the so-manieth time; before that
    it stands still there for so long, as one does that gets no processor, while all others go on.

    Raises:
        ValueError: There is no such point.
    """
    global _held_seconds
    if name not in SERVER + WORKER + WORKER_CREDENTIALS + SUPERVISOR:
        raise ValueError(name)
    _armed[name] = passes
    _held_seconds = held_seconds


def reached(name: str) -> None:
    """This process is at ``name``."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] <= 0:
            time.sleep(_held_seconds)
            os.kill(os.getpid(), signal.SIGKILL)


def before_commit(function: Callable[..., Any]) -> None:
    """The transaction of a store function is about to be committed."""
    if _armed:
        reached(f"{path_of(function)}.{BEFORE}")


def after_commit(function: Callable[..., Any]) -> None:
    """It is, and nobody knows."""
    if _armed:
        reached(f"{path_of(function)}.{AFTER}")


def path_of(function: Callable[..., Any]) -> str:
    """The name of a commit path: that of the store function that is run in the transaction, behind its module's."""
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
