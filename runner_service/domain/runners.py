"""Runners: registered machines, and what their workers say about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from runner_service.domain.jobs import Micros


class RunnerState(StrEnum):
    """What a runner is doing as a whole."""

    ACTIVE = "ACTIVE"
    STARTING = "STARTING"
    STOPPING = "STOPPING"
    RESTARTING = "RESTARTING"
    INACTIVE = "INACTIVE"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A registered machine."""

    runner_id: str
    name: str
    state: RunnerState
    registered_at: Micros
    credential_hash: bytes
    """sha256 of the worker's credential; the credential itself is kept by the worker alone."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What jobs may require; ``os``, ``arch`` and ``hostname`` are set by the worker."""
    slots: int = 1
    """Jobs it runs at one time."""
    local: bool = False
    """The runner that the server itself started."""
    version: str = ""
    boot_id: str = ""
    """Of the machine's kernel: a change means that nothing of before is running."""
    spool_id: str = ""
    """Of the machine's memory of attempts (see `Beat`); empty when it has none, or changed it within a session."""
    session_id: str = ""
    """Of the worker process that holds the identity now."""
    last_seen_at: Micros = 0
    lease_until: Micros = 0
    """Until when the server counts on the runner's attempts to be alive."""


def satisfies(labels: Mapping[str, str], required: Mapping[str, str]) -> bool:
    """Tells whether a runner with ``labels`` may take a job that requires ``required``.

    A required name that begins with ``!`` is a label that the runner must not have, whatever its value.
    """
    return all(_meets(labels, name, value) for name, value in required.items())


def _meets(labels: Mapping[str, str], name: str, value: str) -> bool:
    return name[1:] not in labels if name.startswith("!") else labels.get(name) == value


def explain_missing(labels: Mapping[str, str], required: Mapping[str, str]) -> list[str]:
    """The requirements that ``labels`` do not meet, as ``name=value`` in order of name."""
    return [
        name if name.startswith("!") else f"{name}={value}"
        for name, value in sorted(required.items())
        if not _meets(labels, name, value)
    ]
