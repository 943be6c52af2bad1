"""How a job ended, as an exit code and, where a shell would say something, a sentence."""

from __future__ import annotations

from runner.v1.job_pb2 import Job
from runner.v1.outcome_pb2 import Outcome
from runner_client.cli.report import INTERRUPTED, NOT_EXECUTABLE, NOT_FOUND, SIGNAL_BASE, TIMED_OUT, UNKNOWN

_KILLED = SIGNAL_BASE + 9

_REFUSED = {"COMMAND_NOT_FOUND": NOT_FOUND, "COMMAND_NOT_EXECUTABLE": NOT_EXECUTABLE, "TOO_LARGE": NOT_EXECUTABLE}
"""A working directory that is not there is the asker's mistake and none of the command's: 125, as `env -C` has it."""

_TIMED_OUT = {
    "queue": "it waited too long for a runner",
    "start": "its first process took too long to start",
    "idle": "it wrote nothing for too long",
    "kill": "it left processes that cannot be ended",
}
_LOST = {
    "lease_expired": "its runner was not heard of for too long",
    "runner_forgot": "its runner came back without it",
    "self_stop": "its runner lost the server and stopped it",
    "supervisor_died": "the supervisor on its runner died",
    "machine_rebooted": "its machine was restarted",
}


def exit_code(state: Job.State.ValueType, outcome: Outcome) -> int:
    """Returns the exit code that a shell would have for it."""
    if state == Job.STATE_CANCELLED:
        return INTERRUPTED
    match outcome.kind:
        case Outcome.KIND_EXITED:
            return outcome.exit_code
        case Outcome.KIND_SIGNALED:
            return SIGNAL_BASE + outcome.signal
        case Outcome.KIND_TIMED_OUT:
            return TIMED_OUT
        case Outcome.KIND_OUT_OF_MEMORY | Outcome.KIND_OUT_OF_DISK:
            return _KILLED
        case Outcome.KIND_CANCELLED:
            return INTERRUPTED
        case Outcome.KIND_REFUSED:
            return _REFUSED.get(outcome.detail, UNKNOWN)
    return {Job.STATE_SUCCEEDED: 0, Job.STATE_TIMED_OUT: TIMED_OUT}.get(state, UNKNOWN)


def explanation(state: Job.State.ValueType, outcome: Outcome) -> str:
    """Returns what its output can't tell: a sentence, empty for what ended by itself, by a signal or by request."""
    if state == Job.STATE_CANCELLED:
        return ""
    match outcome.kind:
        case Outcome.KIND_EXITED | Outcome.KIND_SIGNALED | Outcome.KIND_CANCELLED:
            return ""
        case Outcome.KIND_TIMED_OUT:
            return outcome.message or _TIMED_OUT.get(outcome.detail, "its time was over")
        case Outcome.KIND_OUT_OF_MEMORY:
            return outcome.message or "it ran out of memory and was killed"
        case Outcome.KIND_OUT_OF_DISK:
            return outcome.message or "it had too much on disk and was killed"
        case Outcome.KIND_REFUSED:
            return outcome.message or f"it could not start: {outcome.detail}"
        case Outcome.KIND_INFRASTRUCTURE:
            return f"the runner failed, not the job: {outcome.message or outcome.detail}"
        case Outcome.KIND_LOST:
            return f"nobody knows how it ended: {outcome.message or _LOST.get(outcome.detail, outcome.detail)}"
    return "" if state == Job.STATE_SUCCEEDED else "nobody knows how it ended"


def facts(outcome: Outcome) -> list[tuple[str, str]]:
    """What it used, and what its runner could not do; name and value of each."""
    from runner_client.cli.values import format_duration, format_size

    usage = outcome.usage
    memory = usage.peak_memory_bytes or usage.max_rss_bytes
    used = [
        f"{format_duration(usage.wall_time.ToNanoseconds() / 1e9)} of time" if usage.HasField("wall_time") else "",
        f"{format_duration(usage.cpu_time.ToNanoseconds() / 1e9)} of processors" if usage.HasField("cpu_time") else "",
        f"{format_size(memory)} of memory" if memory else "",
    ]
    return [
        ("used", ", ".join(filter(None, used))),
        ("not enforced", ", ".join(outcome.unenforced_limits)),
        ("survivors", str(outcome.survivors or "")),
        ("steps ended", ", ".join("-" if code < 0 else str(code) for code in outcome.step_codes)),
    ]


def summary(state: Job.State.ValueType, outcome: Outcome | None) -> str:
    """Returns a word or two for a table: `exit 1`, `signal 9`, `timed out`; empty while it runs."""
    if outcome is None or not outcome.kind:
        return ""
    match outcome.kind:
        case Outcome.KIND_EXITED:
            return f"exit {outcome.exit_code}"
        case Outcome.KIND_SIGNALED:
            return f"signal {outcome.signal}"
        case Outcome.KIND_REFUSED | Outcome.KIND_LOST | Outcome.KIND_INFRASTRUCTURE:
            return outcome.detail.lower().replace("_", " ")
    return Outcome.Kind.Name(outcome.kind).removeprefix("KIND_").lower().replace("_", " ")


def state_word(state: Job.State.ValueType) -> str:
    """Returns the state as it is printed and typed: `timed_out`."""
    return Job.State.Name(state).removeprefix("STATE_").lower()
