"""What may be said of containers, wherever it is said: in a job, or in the configuration of a runner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runner_service.domain.errors import InvalidArgument


class PullPolicy(StrEnum):
    """When the image of a container is fetched from its registry."""

    IF_MISSING = "IF_MISSING"
    ALWAYS = "ALWAYS"
    NEVER = "NEVER"
    """A job whose image is not on the runner is refused."""


CONTAINER_LABEL = "docker"
"""The label of runners that run containers, with the value ``yes``; a job with a container requires it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What the steps of a job run in."""

    image: str
    pull_policy: PullPolicy = PullPolicy.IF_MISSING
    user: str = ""
    """Name or number, ``:`` and a group if need be; empty: as the image says."""
    network: str = ""
    """``none``, ``bridge``, ``host`` or the name of a network of the engine; empty: the engine's default."""
    volumes: tuple[str, ...] = ()
    """As ``docker run --volume`` takes them: ``SOURCE:TARGET[:ro]``."""
    privileged: bool = False
    """Set by the configuration of a runner alone."""


_MODES = frozenset({"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"})
_PROPAGATIONS = frozenset({"shared", "slave", "private", "rshared", "rslave", "rprivate"})


def check_volume(text: str, *, field: str) -> str:
    """Raises `InvalidArgument` unless it is ``SOURCE:TARGET[:OPTIONS]``, as ``docker run --volume`` takes it."""
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    fault = ""
    if not source or not target or "\0" in text:
        fault = "give SOURCE:TARGET or SOURCE:TARGET:ro"
    elif not target.startswith("/") or target.rstrip("/") in ("", "/workspace"):
        fault = "the target is an absolute path in the container, neither / nor /workspace"
    elif "/" in source and not source.startswith("/"):
        fault = "the source is an absolute path, or the name of a volume"
    elif ".." in source.split("/") or ".." in target.split("/"):
        fault = "a path has no .."
    elif options and not set(options.split(",")) <= _MODES | _PROPAGATIONS:
        fault = "the options are ro, rw or another that docker knows"
    if fault:
        raise InvalidArgument(field=field, problem=f"{text!r}: {fault}")
    return text
