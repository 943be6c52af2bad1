"""Parts of a job file that are mappings of their own: steps, inputs, limits, retries, what follows a loss."""

from __future__ import annotations

from typing import Any

from runner.v1.input_pb2 import TerminalSize
from runner.v1.job_pb2 import (
    Argv,
    CleanupPolicy,
    Container,
    JobInput,
    JobSpec,
    Limits,
    LossPolicy,
    RetryPolicy,
    RetryRule,
    SpoolPolicy,
    Step,
)
from runner.v1.outcome_pb2 import Outcome
from runner_client.cli.job_values import (
    JobFileError,
    LinedMapping,
    choice,
    decimal,
    duration,
    flag,
    full,
    items,
    number,
    read,
    size,
    word,
)


def _words_of(enum: Any, prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix).lower(): value for name, value in enum.items() if value}


KINDS = _words_of(Outcome.Kind, "KIND_")
CLEANUPS = _words_of(CleanupPolicy, "CLEANUP_POLICY_")
SPOOLS = _words_of(SpoolPolicy, "SPOOL_POLICY_")
PULLS = _words_of(Container.PullPolicy, "PULL_POLICY_")
LOSSES = _words_of(LossPolicy.Kind, "KIND_")
STDINS = {"none" if name == "null" else name: value for name, value in _words_of(JobSpec.Stdin, "STDIN_").items()}


def step(value: Any) -> Step:
    if isinstance(value, str):
        return Step(script=full(value))
    if not isinstance(value, dict):
        raise ValueError("a step is a script, or a mapping with `run` or `argv`")
    found = Step()
    read(
        value,
        {
            "name": lambda value: setattr(found, "name", word(value)),
            "run": lambda value: setattr(found, "script", full(word(value))),
            "argv": lambda value: found.argv.CopyFrom(Argv(args=[word(one) for one in items(value)])),
            "always": lambda value: setattr(found, "always", flag(value)),
        },
    )
    if ("run" in value) == ("argv" in value):
        line = min(value.lines.values(), default=None) if isinstance(value, LinedMapping) else None
        raise JobFileError("a step has either `run` or `argv`", line=line)
    return found


def job_input(value: Any) -> JobInput:
    found = JobInput()
    read(
        value,
        {
            "artifact": lambda value: setattr(found, "artifact_id", word(value)),
            "path": lambda value: setattr(found, "path", word(value)),
            "executable": lambda value: setattr(found, "executable", flag(value)),
        },
    )
    return found


def retry(value: Any) -> RetryPolicy:
    found = RetryPolicy()
    read(
        value,
        {
            "max_attempts": lambda value: setattr(found, "max_attempts", number(value, least=1)),
            "delay": lambda value: found.delay.CopyFrom(duration(value)),
            "on": lambda value: found.rules.extend(_rule(one) for one in items(value)),
        },
    )
    return found


def _rule(value: Any) -> RetryRule:
    """A kind of outcome, or a mapping of one to numbers or words: ``exited: [75]``, ``timed_out: [idle]``."""
    kind, values = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (word(value), [])
    if kind not in KINDS:
        raise ValueError(f"known outcomes are {', '.join(KINDS)}")
    found = RetryRule(kind=choice(kind, KINDS))
    if kind == "exited":
        found.exit_codes.extend(number(one, least=0, most=255) for one in values)
    elif kind == "signaled":
        found.signals.extend(number(one, least=1, most=64) for one in values)
    else:
        found.details.extend(map(word, values))
    return found


def container(value: Any) -> Container:
    """An image, or a mapping of it and what belongs to it."""
    if isinstance(value, str):
        value = {"image": value}
    found = Container()
    read(
        value,
        {
            "image": lambda value: setattr(found, "image", word(value)),
            "pull": lambda value: setattr(found, "pull_policy", choice(value, PULLS)),
            "user": lambda value: setattr(found, "user", word(value)),
            "network": lambda value: setattr(found, "network", word(value)),
            "volumes": lambda value: found.volumes.extend(word(one) for one in items(value)),
        },
    )
    return found


def limits(value: Any) -> Limits:
    found = Limits()
    read(
        value,
        {
            "cpus": lambda value: setattr(found, "cpus", decimal(value)),
            "memory": lambda value: setattr(found, "memory_bytes", size(value)),
            "processes": lambda value: setattr(found, "processes", number(value, least=1)),
            "disk": lambda value: setattr(found, "disk_bytes", size(value)),
        },
    )
    return found


def loss(value: Any) -> LossPolicy:
    """A word, or a mapping of it and what belongs to it. ``retry`` says that running it twice does no harm."""
    if isinstance(value, str):
        value = {"then": value}
    found = LossPolicy()
    read(
        value,
        {
            "then": lambda value: setattr(found, "kind", choice(value, LOSSES)),
            "wait": lambda value: found.wait.CopyFrom(duration(value)),
            "idempotent": lambda value: setattr(found, "idempotent", flag(value)),
        },
    )
    return found


def terminal(value: Any) -> TerminalSize:
    found = TerminalSize()
    read(
        value,
        {
            "rows": lambda value: setattr(found, "rows", number(value, least=1, most=65_535)),
            "columns": lambda value: setattr(found, "columns", number(value, least=1, most=65_535)),
        },
    )
    return found
