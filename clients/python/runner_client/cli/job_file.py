"""Job files: YAML or JSON, read strictly, so that a misspelt key is an error with its line and never a default.

::

    steps:                      # required: a script each, or a mapping
      - make
      - name: test
        run: make test          # text for /bin/sh -c
      - argv: [./report, --all] # run without a shell
    environment: {CI: "1"}
    inputs: [{artifact: 01a2…, path: data/in.csv}]   # files in its directory, from `runner cp`
    outputs: [report.html, "logs/**"]                # files in it that are kept
    secrets: {TOKEN: deploy-token}   # a variable, and the secret of the server that it gets
    working_directory: /srv/build
    timeout: 30m
    queue_timeout: 1h           # in the queue; likewise start_timeout and idle_timeout (without output)
    limits: {cpus: 1.5, memory: 512M, processes: 100}
    retries: 2                  # after the first attempt; or retry: {max_attempts: 3, delay: 10s, on: [timed_out]}
    priority: 5
    tags: {branch: main}
    labels: {os: linux}         # a runner needs them
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml
from google.protobuf.duration_pb2 import Duration

from runner.v1.job_pb2 import Argv, JobInput, JobSpec, Limits, RetryPolicy, RetryRule, Step
from runner.v1.outcome_pb2 import Outcome
from runner_client.cli.values import parse_duration

Value = TypeVar("Value")
_KINDS = {name.removeprefix("KIND_").lower(): number for name, number in Outcome.Kind.items() if number}
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class JobFileError(Exception):
    """The file is not a job: a sentence, where possible its line (from 1), and what to do."""

    def __init__(self, message: str, *, line: int | None = None, advice: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.advice = advice


@dataclass
class JobFile:
    """What a file asks for."""

    spec: JobSpec = field(default_factory=JobSpec)
    priority: int = 0
    tags: dict[str, str] = field(default_factory=dict)


class _Mapping(dict[str, Any]):
    """A mapping that knows the line of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


class _Loader(yaml.BaseLoader):
    """Scalars stay the text that was written: `1.10`, `yes` and `0755` are no numbers before someone asks for one."""


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> _Mapping:
    mapping = _Mapping()
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
    readers: dict[str, Callable[[Any], None]] = {
        "steps": lambda value: job.spec.steps.extend(_step(item) for item in _list(value)),
        "environment": lambda value: job.spec.environment.update(_words(value)),
        "inputs": lambda value: job.spec.inputs.extend(_input(item) for item in _list(value)),
        "outputs": lambda value: job.spec.outputs.extend(_word(item) for item in _list(value)),
        "secrets": lambda value: job.spec.secrets.update(_words(value)),
        "working_directory": lambda value: setattr(job.spec, "working_directory", _word(value)),
        "timeout": lambda value: job.spec.timeout.CopyFrom(_duration(value)),
        **{
            name: lambda value, name=name: getattr(job.spec, name).CopyFrom(_duration(value))  # type: ignore[misc]
            for name in ("queue_timeout", "start_timeout", "idle_timeout")
        },
        "limits": lambda value: job.spec.limits.CopyFrom(_limits(value)),
        "retries": lambda value: setattr(job.spec.retry, "max_attempts", _number(value, least=0) + 1),
        "retry": lambda value: job.spec.retry.CopyFrom(_retry(value)),
        "priority": lambda value: setattr(job, "priority", _number(value, least=-1_000, most=1_000)),
        "tags": lambda value: job.tags.update(_words(value)),
        "labels": lambda value: job.spec.required_labels.update(_words(value)),
    }
    _read(document, readers)
    if "retries" in document and "retry" in document:
        raise JobFileError("`retries` and `retry` exclude each other", line=_line(document, "retry"))
    if not job.spec.steps:
        raise JobFileError("there are no steps", line=_line(document, "steps"), advice="add at least one to `steps`")
    return job


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


def _read(mapping: dict[str, Any], readers: dict[str, Callable[[Any], None]]) -> None:
    """Hands each value to the reader of its key; a fault is told with the key and its line."""
    for key, value in mapping.items():
        line = _line(mapping, key)
        if key not in readers:
            raise JobFileError(f"the key {key!r} is not known", line=line, advice=f"known are {', '.join(readers)}")
        try:
            readers[key](value)
        except (ValueError, TypeError) as error:
            raise JobFileError(f"`{key}`: {error}", line=line) from None
        except JobFileError as error:
            raise JobFileError(f"`{key}`: {error}", line=error.line or line, advice=error.advice) from None


def _line(mapping: dict[str, Any], key: str) -> int | None:
    return mapping.lines.get(key) if isinstance(mapping, _Mapping) else None


def _step(item: Any) -> Step:
    if isinstance(item, str):
        return Step(script=_full(item))
    if not isinstance(item, dict):
        raise ValueError("a step is a script, or a mapping with `run` or `argv`")
    step = Step()
    readers: dict[str, Callable[[Any], None]] = {
        "name": lambda value: setattr(step, "name", _word(value)),
        "run": lambda value: setattr(step, "script", _full(_word(value))),
        "argv": lambda value: step.argv.CopyFrom(Argv(args=[_word(word) for word in _list(value)])),
    }
    _read(item, readers)
    if ("run" in item) == ("argv" in item):
        line = min(item.lines.values(), default=None) if isinstance(item, _Mapping) else None
        raise JobFileError("a step has either `run` or `argv`", line=line)
    return step


def _input(item: Any) -> JobInput:
    if not isinstance(item, dict):
        raise ValueError("an input is a mapping with `artifact` and `path`")
    found = JobInput()
    readers: dict[str, Callable[[Any], None]] = {
        "artifact": lambda value: setattr(found, "artifact_id", _word(value)),
        "path": lambda value: setattr(found, "path", _word(value)),
        "executable": lambda value: setattr(found, "executable", _flag(value)),
    }
    _read(item, readers)
    return found


def _flag(value: Any) -> bool:
    word = _word(value).lower()
    if word not in ("true", "false", "yes", "no"):
        raise ValueError("write true or false")
    return word in ("true", "yes")


def _retry(value: Any) -> RetryPolicy:
    if not isinstance(value, dict):
        raise ValueError("write a mapping with `max_attempts` and, if wanted, `delay`")
    policy = RetryPolicy()
    readers: dict[str, Callable[[Any], None]] = {
        "max_attempts": lambda value: setattr(policy, "max_attempts", _number(value, least=1)),
        "delay": lambda value: policy.delay.CopyFrom(_duration(value)),
        "on": lambda value: policy.rules.extend(_rule(item) for item in _list(value)),
    }
    _read(value, readers)
    return policy


def _rule(item: Any) -> RetryRule:
    """A kind of outcome, or a mapping of one to numbers or words: ``exited: [75]``, ``timed_out: [idle]``."""
    kind, values = next(iter(item.items())) if isinstance(item, dict) and len(item) == 1 else (_word(item), [])
    if kind not in _KINDS:
        raise ValueError(f"known outcomes are {', '.join(_KINDS)}")
    rule = RetryRule(kind=_KINDS[kind])
    if kind == "exited":
        rule.exit_codes.extend(_number(value, least=0, most=255) for value in values)
    elif kind == "signaled":
        rule.signals.extend(_number(value, least=1, most=64) for value in values)
    else:
        rule.details.extend(map(_word, values))
    return rule


def _limits(value: Any) -> Limits:
    if not isinstance(value, dict):
        raise ValueError("write a mapping with `cpus`, `memory` and `processes`, or some of them")
    limits = Limits()
    readers: dict[str, Callable[[Any], None]] = {
        "cpus": lambda value: setattr(limits, "cpus", _decimal(value)),
        "memory": lambda value: setattr(limits, "memory_bytes", _size(value)),
        "processes": lambda value: setattr(limits, "processes", _number(value, least=1)),
    }
    _read(value, readers)
    return limits


def _decimal(value: Any) -> float:
    try:
        return float(_word(value))
    except ValueError:
        raise ValueError("write a number such as 1.5") from None


def _size(value: Any) -> int:
    text = _word(value).removesuffix("iB").removesuffix("B")
    unit = _UNITS.get(text[-1:], 0)
    return _number(text[:-1] if unit else text, least=1) * (unit or 1)


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write text, in quotes where it is JSON")
    return value


def _full(text: str) -> str:
    if not text.strip():
        raise ValueError("a step is empty")
    return text


def _words(value: Any) -> dict[str, str]:
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise ValueError("write a mapping of names to text")
    for name, text in value.items():
        if not isinstance(text, str):
            raise JobFileError(f"{name!r} must be text", line=_line(value, name))
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("write a list with at least one item")
    return value


def _number(value: Any, *, least: int, most: int = 2**31 - 2) -> int:
    try:
        number = int(_word(value))
    except ValueError:
        raise ValueError("write a whole number") from None
    if not least <= number <= most:
        raise ValueError(f"write a number from {least} to {most}")
    return number


def _duration(value: Any) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(parse_duration(_word(value)) * 1e9))
    return duration
