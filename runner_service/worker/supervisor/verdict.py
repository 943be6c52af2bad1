"""Outcomes as the supervisor makes them: `domain.outcomes.Outcome` in JSON.

The class itself stays out of this process, because ``dataclasses`` would cost it 2 MB; a test keeps the words equal.
"""

from __future__ import annotations

from runner_service.worker.supervisor.wire import Message

MICROSECOND = 1_000


class Refused(Exception):
    """A step could not start as asked."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def make(kind: str, **facts: object) -> Message:
    """An outcome; what is not said has the default of the domain's class."""
    return {"kind": kind, **facts}


def ended(status: int, step: int) -> Message:
    """What a wait status says."""
    if status < 0:
        return make("SIGNALED", signal=-status, step=step)
    return make("EXITED", exit_code=status, step=step)


def code(status: int) -> int:
    """What a wait status says, as a shell has it."""
    return 128 - status if status < 0 else status


def refused(error: Refused, step: int) -> Message:
    return make("REFUSED", detail=error.reason, message=error.message, step=step)


def killed(cause: str, detail: str, step: int) -> Message:
    """What a kill means, by its cause."""
    if cause in ("stale", "self_stop"):
        return make("LOST", detail=cause, message=detail, step=step)
    if cause == "start_timeout":
        return make("TIMED_OUT", detail="start", message=detail, step=step)
    if cause == "shutdown":
        return make("CANCELLED", detail="shutdown", message=detail, step=step)
    return make("CANCELLED", detail=detail or "user", step=step)


def outlived(outcome: Message, survivors: int) -> Message:
    """An end of its own that processes of it outlive, because they cannot be ended."""
    match outcome["kind"]:
        case "EXITED":
            how = f"exited with {outcome['exit_code']}"
        case "SIGNALED":
            how = f"was ended by signal {outcome['signal']}"
        case "OUT_OF_MEMORY":
            how = "ran out of memory"
        case _:  # It was ended, and why is what counts.
            return outcome
    left = "a process" if survivors == 1 else f"{survivors} processes"
    message = f"it {how}, but left {left} that cannot be ended"
    return make("TIMED_OUT", detail="kill", message=message, step=outcome["step"])


def usage(wall_ns: int, cpu_us: int, max_rss_kib: int, peak_memory: int) -> Message:
    return {
        "wall_us": wall_ns // MICROSECOND,
        "cpu_us": cpu_us,
        "max_rss_bytes": max_rss_kib * 1024,
        "peak_memory_bytes": peak_memory,
    }
