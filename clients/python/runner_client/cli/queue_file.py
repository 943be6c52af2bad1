"""Files of jobs for lab queues: a lab's own definition, taken as it is, or one of our job files, put into its words.

A definition is free-form, so nothing is checked here; of JSON not even a number is touched. A job file (it has
``steps``) becomes ``test_data.test_cmds``, one script that any agent can run. What agents know nothing of is refused.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

import yaml

from runner_client.cli.job_file import JobFile, JobFileError, parse_job_file

_FOREIGN = (
    "secrets",
    "limits",
    "log_limit_bytes",
    "retry",
    "loss",
    "required_labels",
    "queue_timeout",
    "start_timeout",
    "kill_grace",
    "spool_policy",
    "cleanup",
    "stdin",
    "terminal",
    "inputs",
    "outputs",
)


def parse_queue_file(text: str, queue: str) -> bytes:
    """The definition that a file asks for. Raises :class:`JobFileError`."""
    document = _load(text)
    if not isinstance(document, dict):
        raise JobFileError("this is not a job", advice="write a mapping, with `test_data` or `steps`")
    if "steps" in document:
        return _encode(_definition(parse_job_file(text), queue))
    if text.lstrip().startswith("{"):
        return text.encode()
    return _encode(document)


def _load(text: str) -> Any:
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text)
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        raise JobFileError("this is neither YAML nor JSON") from None


def _encode(document: Any) -> bytes:
    try:
        return json.dumps(document, default=str).encode()
    except (TypeError, ValueError) as error:
        raise JobFileError(f"this cannot be written as JSON: {error}") from None


def _definition(job: JobFile, queue: str) -> dict[str, Any]:
    spec = job.spec
    given = {field.name for field, _ in spec.ListFields()}
    foreign = [name for name in _FOREIGN if name in given]
    if foreign:
        raise JobFileError(
            f"agents of queues know nothing of {', '.join(foreign)}", advice="leave it out, or submit without --queue"
        )
    lines = ["set -e"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(spec.environment.items())]
    if spec.working_directory:
        lines.append(f"cd {shlex.quote(spec.working_directory)}")
    for step in spec.steps:
        words = list(step.argv.args) if step.HasField("argv") else ["/bin/sh", "-c", step.script]
        lines.append(shlex.join(words))
    definition: dict[str, Any] = {"job_queue": queue, "test_data": {"test_cmds": "\n".join(lines) + "\n"}}
    if spec.HasField("timeout"):
        definition["global_timeout"] = max(1, spec.timeout.seconds)
    if spec.HasField("idle_timeout"):
        definition["output_timeout"] = max(1, spec.idle_timeout.seconds)
    if job.priority:
        definition["job_priority"] = job.priority
    if job.tags:
        definition["tags"] = [f"{name}={value}" if value else name for name, value in sorted(job.tags.items())]
    return definition
