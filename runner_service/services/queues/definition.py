"""What a job's definition says to us: it is free-form, and handed to its agent as it came."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import Step
from runner_service.domain.json_text import members_of, object_of, parse, text_of
from runner_service.domain.queues import ATTACHMENTS_PATH, CLEANUP, PHASES, SERIAL

PhaseCommands = Mapping[str, Mapping[str, str]]
"""By queue (``*``: every other), then by phase: the script that a runner of our own runs for it. `SERIAL` is no phase:
its script runs beside all of them, and what it writes is the serial output."""

OURS = frozenset({"job_id", "started_at", "attachments_status"})
"""Members that belong to the service: an agent that gives a job back posts them too."""
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_UNITS = (86_400, 3_600, 60, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job for a queue, as far as the service looks at it."""

    queue: str
    definition: str
    """JSON text of an object without the members that are `OURS`."""
    job_id: str = ""
    priority: int = 0
    tags: tuple[str, ...] = ()
    exclude_agents: tuple[str, ...] = ()
    attachments: bool = False
    global_timeout: int | None = None
    reserve_timeout: int = 0
    scripts: Mapping[str, str] = field(default_factory=dict)
    """By phase: what the job itself brings to run."""
    data: frozenset[str] = frozenset()
    """Phases that the job has data for."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """By variable, the path of the submitter's secret that it gets."""


def read_definition(text: str) -> Submission:
    """Reads a job's definition. Members that mean nothing to the service are kept as they are.

    Raises:
        InvalidArgument: Names the member.
    """
    try:
        members = members_of(text)
    except ValueError:
        raise InvalidArgument(field="definition", problem="give a JSON object") from None
    values = {name: parse(value) for name, value in members.items() if name in _READ}
    queue = _text(values, "job_queue")
    if not queue:
        raise InvalidArgument(field="job_queue", problem="name a queue")
    test_data = _object(values, "test_data")
    command = test_data.get("test_cmds")
    return Submission(
        queue=queue,
        definition=object_of({name: value for name, value in members.items() if name not in OURS}),
        job_id=_text(values, "job_id"),
        priority=_integer(values, "job_priority") or 0,
        tags=_texts(values, "tags"),
        exclude_agents=_texts(values, "exclude_agents"),
        attachments=any(
            bool(value.get("attachments"))
            for name, value in values.items()
            if name.endswith("_data") and isinstance(value, dict)
        ),
        global_timeout=_integer(values, "global_timeout"),
        reserve_timeout=seconds_of(_object(values, "reserve_data").get("timeout")) or 0,
        scripts={"test": command} if isinstance(command, str) and command.strip() else {},
        secrets=_secrets(test_data),
        data=frozenset(
            phase
            for phase in PHASES
            if isinstance(data := values.get(f"{phase}_data"), dict) and data.get("skip") is not True
        ),
    )


def _secrets(test_data: Mapping[str, Any]) -> Mapping[str, str]:
    found = test_data.get("secrets") or {}
    if not isinstance(found, dict) or not all(isinstance(path, str) for path in found.values()):
        raise InvalidArgument(field="test_data.secrets", problem="give a path for each variable")
    return found


def with_secrets(definition: str, values: Mapping[str, str]) -> str:
    """The definition with the secrets of its ``test_data`` in place of their paths."""
    members = members_of(definition)
    test_data = members_of(members["test_data"])
    test_data["secrets"] = text_of(dict(values))
    return object_of({**members, "test_data": object_of(test_data)})


def without_secrets(definition: str) -> str:
    """The definition without what an agent was given, and gives back with the job."""
    members = members_of(definition)
    if members.get("test_data", "").lstrip().startswith("{"):
        test_data = {name: value for name, value in members_of(members["test_data"]).items() if name != "secrets"}
        members["test_data"] = object_of(test_data)
    return object_of(members)


_UNPACK = f"mkdir -p attachments && tar -xzf {ATTACHMENTS_PATH} -C attachments"
_FOR_EVERY_JOB = ("setup", CLEANUP)
MOST_ENVIRONMENT_BYTES = 100_000
"""The kernel takes 128 KiB in one variable."""


def steps_of(submission: Submission, commands: PhaseCommands) -> tuple[Step, ...]:
    """What a runner of our own runs for a job: its own commands, and those that the settings give its queue. Setup and
    cleanup are run for every job, other phases for jobs that have data for them. After the first phase that fails, or
    is ended, only the cleanup runs."""
    configured = commands.get(submission.queue, commands.get("*", {}))
    steps = [Step(name="setup", script=_UNPACK)] if submission.attachments else []
    for phase in PHASES:
        script = submission.scripts.get(phase)
        if script is None and (phase in submission.data or phase in _FOR_EVERY_JOB):
            script = configured.get(phase)
        if script:
            steps.append(Step(name=phase, script=script, always=phase == CLEANUP))
    steps = steps or [Step(name="test", script=":")]
    if console := configured.get(SERIAL):
        return tuple(_beside(step, "" if index else console) for index, step in enumerate(steps))
    return tuple(steps)


def serial_of(submission: Submission, commands: PhaseCommands) -> bool:
    """Tells whether standard error of a runner of our own is the serial output of the job's device."""
    return SERIAL in commands.get(submission.queue, commands.get("*", {}))


def _beside(step: Step, console: str) -> Step:
    """A phase that leaves standard error to what reads the device's console, which the first one starts."""
    reader = f"/bin/sh -c {shlex.quote(console)} </dev/null >&2 &\n" if console else ""
    return replace(step, script=f"{reader}exec 2>&1\n{step.script}")


def environment_of(submission: Submission, job_id: str) -> Mapping[str, str]:
    """What these scripts know of their job. A definition that is larger than a variable may be is left out."""
    variables = {
        "LAB_QUEUE": submission.queue,
        "LAB_JOB_ID": job_id,
        "LAB_RESERVE_SECONDS": str(submission.reserve_timeout),
        "LAB_JOB": submission.definition,
    }
    if len(submission.definition.encode()) > MOST_ENVIRONMENT_BYTES:
        del variables["LAB_JOB"]
    return variables


def seconds_of(value: object) -> int | None:
    """A duration given as seconds or as text such as ``1800``, ``30m`` or ``2h30m``; None: it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    match = _DURATION.fullmatch(value.strip())
    if match is None or not any(match.groups()):
        return None
    return sum(int(amount) * unit for amount, unit in zip(match.groups(), _UNITS, strict=True) if amount)


_READ = frozenset({"job_id", "job_queue", "job_priority", "tags", "exclude_agents", "global_timeout"}) | {
    f"{phase}_data" for phase in PHASES
}


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str):
        raise InvalidArgument(field=name, problem="give a string")
    return value


def _texts(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = values.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InvalidArgument(field=name, problem="give a list of strings")
    return tuple(dict.fromkeys(value))


def _integer(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    try:
        value = int(value)
    except (TypeError, ValueError, OverflowError):
        value = None
    if value is None or abs(value) >= 2**31:
        raise InvalidArgument(field=name, problem="give an integer")
    return value


def _object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}
