"""What a caller may ask for, and the checks that every API shares."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath

from runner_service.domain.artifacts import check_path
from runner_service.domain.containers import CONTAINER_LABEL, Container, check_volume
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.jobs import (
    NO_LIMITS,
    CleanupPolicy,
    JobInput,
    JobKind,
    JobSpec,
    Limits,
    LossPolicy,
    RetryRule,
    SpoolPolicy,
    Stdin,
    Step,
)
from runner_service.domain.outcomes import OutcomeKind
from runner_service.domain.secrets import check_name

MAX_STEPS = 1_000
MAX_TAGS = 64
MAX_NAME = 200
MAX_PRIORITY = 1_000
MAX_ATTEMPTS = 100
MAX_ARGUMENT_BYTES = 1 << 20
"""Of arguments and environment of one job, NULs included: below what the kernel takes."""
MAX_TIMEOUT_SECONDS = 366 * 24 * 3600.0
MAX_LOG_BYTES = 1 << 30
MAX_INPUTS = 1_000
MAX_OUTPUTS = 100
MAX_TERMINAL = 65_535
"""Rows or columns."""
MAX_RETRY_RULES = 32
MAX_CPUS = 4096.0
MIN_MEMORY_BYTES = 4 << 20
MAX_MEMORY_BYTES = 1 << 50
MAX_PROCESSES = 1 << 22
MAX_IMAGE = 512
"""Characters of the name of a container's image."""
MAX_VOLUMES = 64
_WORD = re.compile(r"[!-~]*")
"""Visible ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefaults:
    """What the service fills in where a request is silent."""

    timeout_seconds: float = 1800.0
    kill_grace_seconds: float = 5.0
    loss_wait_seconds: float = 600.0
    queue_limit: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A request for a job, as any API brings it. ``None`` means that the service decides."""

    kind: JobKind
    steps: tuple[Step, ...]
    origin: str = "native"
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""
    timeout_seconds: float | None = None
    """Negative: has passed already."""
    kill_grace_seconds: float | None = None
    log_limit_bytes: int = 0
    """0: the default, which is the most."""
    queue_timeout_seconds: float = 0.0
    start_timeout_seconds: float = 0.0
    idle_timeout_seconds: float = 0.0
    spool_policy: SpoolPolicy = SpoolPolicy.BLOCK
    cleanup: CleanupPolicy = CleanupPolicy.ALWAYS
    limits: Limits = NO_LIMITS
    container: Container | None = None
    required_labels: Mapping[str, str] = field(default_factory=dict)
    max_attempts: int = 1
    retry_delay_seconds: float = 0.0
    retry_rules: tuple[RetryRule, ...] = ()
    idempotent: bool = False
    loss_policy: LossPolicy = LossPolicy.WAIT
    loss_wait_seconds: float | None = None
    inputs: tuple[JobInput, ...] = ()
    outputs: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    stdin: Stdin = Stdin.NULL
    terminal_rows: int = 24
    terminal_columns: int = 80
    priority: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""

    def fingerprint(self) -> str:
        """Tells requests apart that bear the same request id."""
        asked = asdict(self)
        # Who starts a command again in another window means the same command.
        del asked["terminal_rows"], asked["terminal_columns"]
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_spec(request: NewJob, defaults: JobDefaults) -> JobSpec:
    """Checks a request and completes it.

    Raises:
        InvalidArgument: Names the field and says what it must be.
    """
    _check(request)
    return JobSpec(
        steps=request.steps,
        environment=request.environment,
        working_directory=request.working_directory,
        timeout_seconds=defaults.timeout_seconds if request.timeout_seconds is None else request.timeout_seconds,
        kill_grace_seconds=(
            defaults.kill_grace_seconds if request.kill_grace_seconds is None else request.kill_grace_seconds
        ),
        log_limit_bytes=request.log_limit_bytes or MAX_LOG_BYTES,
        queue_timeout_seconds=request.queue_timeout_seconds,
        start_timeout_seconds=request.start_timeout_seconds,
        idle_timeout_seconds=request.idle_timeout_seconds,
        spool_policy=request.spool_policy,
        cleanup=request.cleanup,
        limits=request.limits,
        container=request.container,
        required_labels=(
            request.required_labels
            if request.container is None
            else {**request.required_labels, CONTAINER_LABEL: "yes"}
        ),
        max_attempts=request.max_attempts,
        retry_delay_seconds=request.retry_delay_seconds,
        retry_rules=request.retry_rules,
        idempotent=request.idempotent,
        loss_policy=request.loss_policy,
        loss_wait_seconds=(
            defaults.loss_wait_seconds if request.loss_wait_seconds is None else request.loss_wait_seconds
        ),
        inputs=request.inputs,
        outputs=request.outputs,
        secrets=request.secrets,
        stdin=request.stdin,
        terminal_rows=request.terminal_rows,
        terminal_columns=request.terminal_columns,
    )


def _check(request: NewJob) -> None:
    if not request.steps:
        raise InvalidArgument(field="steps", problem="give at least one")
    if len(request.steps) > MAX_STEPS:
        raise InvalidArgument(field="steps", problem=f"at most {MAX_STEPS} are taken")
    size = 0
    if request.container is not None:
        _check_container(request.container)
    for index, step in enumerate(request.steps):
        if step.argv or step.script or request.container is None:  # Else it is the command of the container's image.
            size += _check_step(index, step, request.kind)
    for name, value in request.environment.items():
        if not name or "=" in name or "\0" in name:
            raise InvalidArgument(field="environment", problem=f"{name!r} is no name of a variable")
        if "\0" in value:
            raise InvalidArgument(field=f"environment.{name}", problem="a value holds no NUL character")
        size += _bytes(f"environment.{name}", name) + _bytes(f"environment.{name}", value) + 2
    if size > MAX_ARGUMENT_BYTES:
        raise InvalidArgument(field="environment", problem="arguments and environment are over 1 MiB together")
    directory = request.working_directory
    if "\0" in directory:
        raise InvalidArgument(field="working_directory", problem="a path holds no NUL character")
    if directory and not directory.startswith("/"):
        raise InvalidArgument(field="working_directory", problem="give an absolute path")
    _check_range("priority", request.priority, -MAX_PRIORITY, MAX_PRIORITY)
    _check_range("retry.max_attempts", request.max_attempts, 1, MAX_ATTEMPTS)
    _check_range("log_limit_bytes", request.log_limit_bytes, 0, MAX_LOG_BYTES)
    _check_range("retry.delay", request.retry_delay_seconds, 0, MAX_TIMEOUT_SECONDS)
    _check_range("queue_timeout", request.queue_timeout_seconds, 0, MAX_TIMEOUT_SECONDS)
    _check_range("start_timeout", request.start_timeout_seconds, 0, MAX_TIMEOUT_SECONDS)
    _check_range("idle_timeout", request.idle_timeout_seconds, 0, MAX_TIMEOUT_SECONDS)
    if request.limits is not NO_LIMITS:
        _check_limits(request.limits)
    _check_retry_rules(request.retry_rules)
    _check_range("timeout", request.timeout_seconds or 0, -MAX_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS)
    _check_range("kill_grace", request.kill_grace_seconds or 0, 0, 3600)
    _check_range("terminal.rows", request.terminal_rows, 1, MAX_TERMINAL)
    _check_range("terminal.columns", request.terminal_columns, 1, MAX_TERMINAL)
    _check_range("loss.wait", request.loss_wait_seconds or 0, 0, MAX_TIMEOUT_SECONDS)
    if request.loss_policy is LossPolicy.RETRY and not request.idempotent:
        raise InvalidArgument(field="loss.idempotent", problem="RETRY needs a job that is declared idempotent")
    if request.inputs or request.outputs:
        _check_files(request)
    if len(request.secrets) > MAX_TAGS:
        raise InvalidArgument(field="secrets", problem=f"at most {MAX_TAGS} are taken")
    for variable, secret in request.secrets.items():
        if not variable or "=" in variable or "\0" in variable or variable in request.environment:
            raise InvalidArgument(
                field="secrets", problem=f"{variable!r} is no name of a variable, or has a value already"
            )
        check_name(secret, field=f"secrets.{variable}")
    for title, words in (("tags", request.tags), ("required_labels", request.required_labels)):
        if len(words) > MAX_TAGS:
            raise InvalidArgument(field=title, problem=f"at most {MAX_TAGS} are taken")
        if words and any("\0" in name + value for name, value in words.items()):
            raise InvalidArgument(field=title, problem="names and values hold no NUL characters")
    labels = request.required_labels
    if labels and any(name.startswith("queue/") for name in labels):
        raise InvalidArgument(field="required_labels", problem="jobs of lab queues are pushed with QueueService")
    if "" in labels:
        raise InvalidArgument(field="required_labels", problem="a label has a name")
    check_request_id(request.request_id)


def check_request_id(request_id: str) -> None:
    """Raises `InvalidArgument`."""
    if len(request_id) > MAX_NAME or "\0" in request_id:
        raise InvalidArgument(field="request_id", problem=f"give at most {MAX_NAME} characters, none of them NUL")


def _check_container(container: Container) -> None:
    for title, text, most in (
        ("image", container.image, MAX_IMAGE), ("user", container.user, MAX_NAME),
        ("network", container.network, MAX_NAME),
    ):  # fmt: skip
        if len(text) > most or not _WORD.fullmatch(text):
            raise InvalidArgument(field=f"container.{title}", problem=f"give at most {most} visible characters")
    if not container.image:
        raise InvalidArgument(field="container.image", problem="name the image")
    if len(container.volumes) > MAX_VOLUMES:
        raise InvalidArgument(field="container.volumes", problem=f"at most {MAX_VOLUMES} are taken")
    for volume in container.volumes:
        check_volume(volume, field="container.volumes")


def _check_limits(limits: Limits) -> None:
    _check_range("limits.cpus", limits.cpus, 0, MAX_CPUS)
    if 0 < limits.cpus < 0.01:
        raise InvalidArgument(field="limits.cpus", problem="give at least 0.01")
    if limits.memory_bytes:
        _check_range("limits.memory_bytes", limits.memory_bytes, MIN_MEMORY_BYTES, MAX_MEMORY_BYTES)
    _check_range("limits.processes", limits.processes, 0, MAX_PROCESSES)
    _check_range("limits.disk_bytes", limits.disk_bytes, 0, MAX_MEMORY_BYTES)


def _check_retry_rules(rules: tuple[RetryRule, ...]) -> None:
    if len(rules) > MAX_RETRY_RULES:
        raise InvalidArgument(field="retry.rules", problem=f"at most {MAX_RETRY_RULES} are taken")
    for rule in rules:
        if rule.kind is OutcomeKind.CANCELLED:
            raise InvalidArgument(field="retry.rules.kind", problem="a cancel is never followed by another attempt")
        if rule.exit_codes and rule.kind is not OutcomeKind.EXITED:
            raise InvalidArgument(field="retry.rules.exit_codes", problem="only EXITED has exit codes")
        if rule.signals and rule.kind is not OutcomeKind.SIGNALED:
            raise InvalidArgument(field="retry.rules.signals", problem="only SIGNALED has signals")


def _check_files(request: NewJob) -> None:
    for title, files, most in (("inputs", request.inputs, MAX_INPUTS), ("outputs", request.outputs, MAX_OUTPUTS)):
        if files and request.working_directory:
            raise InvalidArgument(field=title, problem="files go with the job's own directory, not with a given one")
        if len(files) > most:
            raise InvalidArgument(field=title, problem=f"at most {most} are taken")
    for index, one in enumerate(request.inputs):
        check_path(one.path, field=f"inputs[{index}].path")
    paths = {one.path for one in request.inputs}
    if len(paths) < len(request.inputs):
        raise InvalidArgument(field="inputs", problem="two have the same path")
    for one in request.inputs:
        if any(str(parent) in paths for parent in PurePosixPath(one.path).parents):
            raise InvalidArgument(field="inputs", problem=f"{one.path!r} is below another that is a file")
    for index, pattern in enumerate(request.outputs):
        check_path(pattern.removesuffix("/"), field=f"outputs[{index}]")


def _check_step(index: int, step: Step, kind: JobKind) -> int:
    """Checks one step and returns the bytes that it hands to the kernel."""
    title = "argv" if kind is JobKind.COMMAND else f"steps[{index}]"
    if step.argv:
        if not step.argv[0]:
            raise InvalidArgument(field=title, problem="the program's name is empty")
        if any("\0" in argument for argument in step.argv):
            raise InvalidArgument(field=title, problem="an argument holds no NUL character")
        return sum(_bytes(title, argument) + 1 for argument in step.argv)
    if not step.script:
        problem = "give at least the program's name" if kind is JobKind.COMMAND else "give a script or an argv"
        raise InvalidArgument(field=title, problem=problem)
    if "\0" in step.script:
        raise InvalidArgument(field=title, problem="a script holds no NUL character")
    return _bytes(title, step.script)


def _bytes(title: str, text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(field=title, problem="it is no valid Unicode text") from None


def _check_range(title: str, value: float, least: float, most: float) -> None:
    # Written so that NaN fails too.
    if not least <= value <= most:
        raise InvalidArgument(field=title, problem=f"give a number from {_plain(least)} to {_plain(most)}")


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"
