"""Job files: YAML or JSON, read strictly, so that a misspelt key is an error with its line and never a default.

::

    steps:                      # required: a script each, or a mapping
      - make
      - name: test
        run: make test          # text for /bin/sh -c
      - argv: [./report, --all] # run without a shell
      - run: make clean         # runs also when a step before it failed or was ended
        always: true
    environment: {CI: "1"}
    inputs: [{artifact: 01a2…, path: data/in.csv}]   # files in its directory, from `runner cp`
    outputs: [report.html, "logs/**"]                # files in it that are kept
    secrets: {TOKEN: deploy-token}   # a variable, and the secret of the server that it gets
    working_directory: /srv/build
    timeout: 30m
    queue_timeout: 1h           # in the queue; likewise start_timeout and idle_timeout (without output)
    kill_grace: 10s             # between TERM and KILL
    limits: {cpus: 1.5, memory: 512M, processes: 100, disk: 10G}
    container: debian:12        # or {image: …, pull: always, user: …, network: none, volumes: [/srv:/srv:ro]}
    log_limit: 100M             # of output that is kept; beyond it its head and tail
    stdin: pipe                 # or pty, with terminal: {rows: 50, columns: 132}; for `runner attach`
    retries: 2                  # after the first attempt; or retry: {max_attempts: 3, delay: 10s, on: [timed_out]}
    loss: fail                  # when its runner is lost; or {then: wait, wait: 5m}, {then: retry, idempotent: true}
    spool_policy: drop_middle   # while the runner's spool is full; or block, fail
    cleanup: on_success         # of its directory; or always, on_failure, never
    priority: 5
    tags: {branch: main}
    labels: {os: linux}         # a runner needs them
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from runner.v1.job_pb2 import JobSpec
from runner_client.cli import job_parts as parts
from runner_client.cli.job_values import (
    JobFileError,
    LinedMapping,
    Readers,
    choice,
    duration,
    items,
    line_of,
    number,
    read,
    size,
    word,
    words,
)

__all__ = ["JobFile", "JobFileError", "parse_job_file"]

_MOST_LOG_BYTES = 1 << 30


@dataclass
class JobFile:
    """What a file asks for."""

    spec: JobSpec = field(default_factory=JobSpec)
    priority: int = 0
    tags: dict[str, str] = field(default_factory=dict)


class _Loader(yaml.BaseLoader):
    """Scalars stay the text that was written: `1.10`, `yes` and `0755` are no numbers before someone asks for one."""


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> LinedMapping:
    mapping = LinedMapping()
    for key_node, value_node in node.value:
        key, line = loader.construct_object(key_node, deep=True), key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise JobFileError("a key must be a word", line=line)
        if key in mapping:
            raise JobFileError(f"the key {key!r} stands twice", line=line, advice="remove one")
        mapping[key] = loader.construct_object(value_node, deep=True)
        mapping.lines[key] = line
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def parse_job_file(text: str) -> JobFile:
    """Returns the job that ``text`` asks for; raises :class:`JobFileError`."""
    document = _load(text)
    if not isinstance(document, dict):
        raise JobFileError("this is not a job", advice="write a mapping with the key `steps`")
    job = JobFile()
    read(document, _readers(job))
    if "retries" in document and "retry" in document:
        raise JobFileError("`retries` and `retry` exclude each other", line=line_of(document, "retry"))
    if not job.spec.steps:
        raise JobFileError("there are no steps", line=line_of(document, "steps"), advice="add at least one to `steps`")
    return job


def _readers(job: JobFile) -> Readers:
    spec = job.spec

    def copied(name: str, part: Callable[[Any], Any]) -> Callable[[Any], None]:
        return lambda value: getattr(spec, name).CopyFrom(part(value))

    def chosen(name: str, known: dict[str, int]) -> Callable[[Any], None]:
        return lambda value: setattr(spec, name, choice(value, known))

    return {
        "steps": lambda value: spec.steps.extend(parts.step(one) for one in items(value)),
        "environment": lambda value: spec.environment.update(words(value)),
        "inputs": lambda value: spec.inputs.extend(parts.job_input(one) for one in items(value)),
        "outputs": lambda value: spec.outputs.extend(word(one) for one in items(value)),
        "secrets": lambda value: spec.secrets.update(words(value)),
        "working_directory": lambda value: setattr(spec, "working_directory", word(value)),
        "timeout": copied("timeout", duration),
        "queue_timeout": copied("queue_timeout", duration),
        "start_timeout": copied("start_timeout", duration),
        "idle_timeout": copied("idle_timeout", duration),
        "kill_grace": copied("kill_grace", duration),
        "limits": copied("limits", parts.limits),
        "container": copied("container", parts.container),
        "log_limit": lambda value: setattr(spec, "log_limit_bytes", _log_limit(value)),
        "stdin": chosen("stdin", parts.STDINS),
        "terminal": copied("terminal", parts.terminal),
        "retries": lambda value: setattr(spec.retry, "max_attempts", number(value, least=0) + 1),
        "retry": copied("retry", parts.retry),
        "loss": copied("loss", parts.loss),
        "spool_policy": chosen("spool_policy", parts.SPOOLS),
        "cleanup": chosen("cleanup", parts.CLEANUPS),
        "priority": lambda value: setattr(job, "priority", number(value, least=-1_000, most=1_000)),
        "tags": lambda value: job.tags.update(words(value)),
        "labels": lambda value: spec.required_labels.update(words(value)),
    }


def _log_limit(value: Any) -> int:
    found = size(value)
    if found > _MOST_LOG_BYTES:
        raise ValueError("at most 1G is kept")
    return found


def _load(text: str) -> Any:
    if text.lstrip().startswith("{"):
        # JSON may be indented with tabs, which YAML refuses.
        try:
            return json.loads(text, parse_int=str, parse_float=str)
        except ValueError:
            pass
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader that makes text alone
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise JobFileError(f"this is not YAML: {error.problem}", line=line) from None
    except yaml.YAMLError as error:
        raise JobFileError(f"this is not YAML: {str(error).splitlines()[0]}") from None
