"""Job files: what they may say, and where a fault in them is."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from runner.v1.job_pb2 import (
    CLEANUP_POLICY_ON_FAILURE,
    SPOOL_POLICY_DROP_MIDDLE,
    Container,
    JobSpec,
    LossPolicy,
    RetryRule,
)
from runner.v1.outcome_pb2 import Outcome
from runner_client.cli.job_file import JobFileError, parse_job_file
from runner_client.cli.values import format_duration, parse_duration

FULL = """\
steps:
  - make
  - name: test
    run: |
      make test
      make clean
  - argv: [./report, --all, 007]
    always: true
environment: {CI: yes, VERSION: 1.10, MODE: 0755, EMPTY: }
working_directory: /srv/build
timeout: 1h30m
retry: {max_attempts: 3, delay: 500ms}
priority: -5
tags: {branch: main}
labels: {os: linux}
"""


def test_everything_a_file_may_say() -> None:
    job = parse_job_file(FULL)
    first, second, third = job.spec.steps
    assert first.script == "make"
    assert (second.name, second.script) == ("test", "make test\nmake clean\n")
    assert list(third.argv.args) == ["./report", "--all", "007"]
    assert [step.always for step in job.spec.steps] == [False, False, True]
    assert dict(job.spec.environment) == {"CI": "yes", "VERSION": "1.10", "MODE": "0755", "EMPTY": ""}
    assert job.spec.working_directory == "/srv/build"
    assert job.spec.timeout.seconds == 5_400
    assert (job.spec.retry.max_attempts, job.spec.retry.delay.nanos) == (3, 500_000_000)
    assert (job.priority, job.tags, dict(job.spec.required_labels)) == (-5, {"branch": "main"}, {"os": "linux"})


EVERY_FIELD = """\
steps: [make]
environment: {A: b}
inputs: [{artifact: 01a2, path: in.csv, executable: yes}]
outputs: [out.csv]
secrets: {TOKEN: deploy}
working_directory: /srv
timeout: 30m
queue_timeout: 1h
start_timeout: 1m
idle_timeout: 2m
kill_grace: 3s
limits: {cpus: 1.5, memory: 512M, processes: 100, disk: 10G}
log_limit: 100M
stdin: pty
terminal: {rows: 50, columns: 132}
retry: {max_attempts: 3, delay: 10s, on: [timed_out: [idle], exited: [75], signaled: [9], out_of_memory]}
loss: {then: retry, wait: 5m, idempotent: true}
spool_policy: drop_middle
cleanup: on_failure
labels: {os: linux}
container: {image: "debian:12", pull: always, user: "1000", network: none, volumes: [/srv:/srv:ro]}
"""


def fields_of(message: Message, path: str = "") -> set[str]:
    """Each field that is set, by its path."""
    found = set()
    for field, value in message.ListFields():
        found.add(path + field.name)
        message = field.message_type
        if message is None or message.file.package != "runner.v1" or message.GetOptions().map_entry:
            continue
        for one in value if field.is_repeated else [value]:
            found |= fields_of(one, f"{path}{field.name}.")
    return found


def known_fields(descriptor: Descriptor, path: str = "") -> set[str]:
    found = set()
    for field in descriptor.fields:
        found.add(path + field.name)
        message = field.message_type
        if message is not None and message.file.package == "runner.v1" and not message.GetOptions().map_entry:
            found |= known_fields(message, f"{path}{field.name}.")
    return found


def test_a_file_can_say_every_field_of_a_job() -> None:
    said = fields_of(parse_job_file(EVERY_FIELD).spec) | fields_of(parse_job_file(FULL).spec)
    assert said == known_fields(JobSpec.DESCRIPTOR) - {"container.privileged"}  # Nobody can ask for that.


def test_words_stand_for_the_values_of_the_contract() -> None:
    spec = parse_job_file(EVERY_FIELD).spec
    assert (spec.stdin, spec.terminal.columns) == (JobSpec.STDIN_PTY, 132)
    assert (spec.loss.kind, spec.loss.idempotent) == (LossPolicy.KIND_RETRY, True)
    assert (spec.spool_policy, spec.cleanup) == (SPOOL_POLICY_DROP_MIDDLE, CLEANUP_POLICY_ON_FAILURE)
    assert (spec.log_limit_bytes, spec.limits.memory_bytes) == (100 << 20, 512 << 20)
    assert spec.container.pull_policy == Container.PULL_POLICY_ALWAYS
    assert parse_job_file("steps: [a]\ncontainer: debian:12\n").spec.container == Container(image="debian:12")
    assert parse_job_file("steps: [a]\nloss: fail\nstdin: none\n").spec.loss.kind == LossPolicy.KIND_FAIL


def test_json_is_read_too_and_keeps_numbers_as_written() -> None:
    job = parse_job_file('{\n\t"steps": ["make"],\n\t"environment": {"V": 1.10},\n\t"timeout": 30, "retries": 2}')
    assert (job.spec.timeout.seconds, job.spec.retry.max_attempts) == (30, 3)
    assert dict(job.spec.environment) == {"V": "1.10"}


FAULTS = [
    ("steps: [a]\nstep: [b]\n", 2, "'step' is not known"),
    ("steps:\n  - a\n  - run: b\n    nmae: c\n", 4, "'nmae' is not known"),
    ("steps:\n  - run: a\n    argv: [b]\n", 2, "either `run` or `argv`"),
    ("steps:\n  - name: a\n", 2, "either `run` or `argv`"),
    ("steps: []\n", 1, "at least one item"),
    ("steps: a\n", 1, "list"),
    ('steps: ["  "]\n', 1, "empty"),
    ("priority: 1\n", None, "no steps"),
    ("steps: [a]\npriority: high\n", 2, "whole number"),
    ("steps: [a]\npriority: 1001\n", 2, "from -1000 to 1000"),
    ("steps: [a]\nstdin: tty\n", 2, "write none, pipe, pty"),
    ("steps: [a]\nlog_limit: 2G\n", 2, "at most 1G"),
    ("steps: [a]\nterminal: 80\n", 2, "write a mapping of rows, columns"),
    ("steps: [a]\nloss:\n  then: wait\n  for: 5m\n", 4, "'for' is not known"),
    ("steps: [a]\ntimeout: soon\n", 2, "not a duration"),
    ("steps: [a]\nretries: 1\nretry: {max_attempts: 2}\n", 3, "exclude each other"),
    ("steps: [a]\nretry: {max_attempts: 0}\n", 2, "from 1"),
    ("steps: [a]\nretry: 3\n", 2, "mapping"),
    ("steps: [a]\nenvironment:\n  A: [1]\n", 3, "'A' must be text"),
    ("steps: [a]\nenvironment: [A]\n", 2, "mapping"),
    ("steps: [a]\nsteps: [b]\n", 2, "stands twice"),
    ("steps: [a\n", 2, "not YAML"),
    ("- a\n", None, "not a job"),
    ("", None, "not a job"),
    ('{"steps": ["a"], "environment": {"A": true}}', None, "'A' must be text"),
    ('{"steps": [null]}', None, "a step is"),
]


@pytest.mark.parametrize(("text", "line", "message"), FAULTS)
def test_fault_is_told_with_its_line(text: str, line: int | None, message: str) -> None:
    with pytest.raises(JobFileError) as caught:
        parse_job_file(text)
    assert message in str(caught.value)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("1.5", 1.5), ("30s", 30), ("500ms", 0.5), ("1h30m", 5_400), ("1d", 86_400), (" 2m ", 120)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 m", "-3s", "1x", "inf", "nan", "1e3", "٣"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0s"), (0.84, "0.8s"), (42.9, "42s"), (185, "3m05s"), (7_620, "2h07m"), (273_600, "3d4h")],
)
def test_printed_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_limits_budgets_and_rules_are_read() -> None:
    spec = parse_job_file(
        "steps: [make]\nlimits: {cpus: 1.5, memory: 512M, processes: 100}\nqueue_timeout: 1h\nidle_timeout: 5m\n"
        "retry: {max_attempts: 3, on: [timed_out, exited: [75, 111], signaled: [9], lost: [lease_expired]]}\n"
    ).spec
    assert (spec.limits.cpus, spec.limits.memory_bytes, spec.limits.processes) == (1.5, 512 << 20, 100)
    assert (spec.queue_timeout.seconds, spec.idle_timeout.seconds) == (3600, 300)
    assert not spec.HasField("start_timeout")
    timed_out, exited, signaled, lost = spec.retry.rules
    assert timed_out == RetryRule(kind=Outcome.KIND_TIMED_OUT)
    assert exited == RetryRule(kind=Outcome.KIND_EXITED, exit_codes=[75, 111])
    assert signaled == RetryRule(kind=Outcome.KIND_SIGNALED, signals=[9])
    assert lost == RetryRule(kind=Outcome.KIND_LOST, details=["lease_expired"])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("limits: {ram: 1}", "'ram' is not known"),
        ("limits: {memory: much}", "is not a size"),
        ("retry: {on: [sad]}", "known outcomes are"),
        ("retry: {on: [exited: [300]]}", "from 0 to 255"),
    ],
)
def test_limits_and_rules_that_make_no_sense_are_named(text: str, part: str) -> None:
    with pytest.raises(JobFileError, match=part):
        parse_job_file(f"steps: [make]\n{text}\n")
