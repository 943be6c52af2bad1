"""The environment a job gets: a few declared basics of the machine, then the job's own, then who it is.

The service's own variables never get in: nothing is copied from the worker's environment but the names below.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from functools import cache

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FROM_HOST = ("LANG", "LANGUAGE", "TZ", "TMPDIR")
_FROM_HOST_PREFIX = "LC_"


def job_environment(
    job: Mapping[str, str], *, job_id: str, attempt_id: str, host: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The complete environment of an attempt.

    Args:
        job: The job's own variables; they win over the basics.
        job_id: Becomes ``RUNNER_JOB_ID``.
        attempt_id: Becomes ``RUNNER_ATTEMPT_ID``, by which the supervisor also recognises the job's processes.
        host: Where the basics come from; the worker's own environment unless given.
    """
    environment = dict(_own_basics() if host is None else _basics(host))
    environment.update(job)
    environment["RUNNER_JOB_ID"] = job_id
    environment["RUNNER_ATTEMPT_ID"] = attempt_id
    return environment


def container_environment(job: Mapping[str, str], *, job_id: str, attempt_id: str) -> dict[str, str]:
    """The same in a container, where the basics are the image's: nothing of this machine gets in."""
    return {**job, "RUNNER_JOB_ID": job_id, "RUNNER_ATTEMPT_ID": attempt_id}


@cache
def _own_basics() -> Mapping[str, str]:
    """Of this process, whose environment does not change: looking through it costs more than the rest of a start."""
    return _basics(os.environ)


def _basics(host: Mapping[str, str]) -> dict[str, str]:
    basics = account()
    basics["PATH"] = _complete(host.get("PATH", ""))
    basics["LANG"] = "C.UTF-8"
    for name, value in host.items():
        if value and (name in _FROM_HOST or name.startswith(_FROM_HOST_PREFIX)):
            basics[name] = value
    return basics


def _complete(path: str) -> str:
    """A search path with the standard folders behind its own."""
    folders = [folder for folder in path.split(":") if folder]
    return ":".join(dict.fromkeys([*folders, *DEFAULT_PATH.split(":")]))


def account() -> dict[str, str]:
    """HOME, USER, LOGNAME and SHELL of the account that runs the jobs, from the password file, not the environment."""
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:  # A container may run a user id that has no entry.
        return {"HOME": "/", "SHELL": "/bin/sh"}
    return {
        "HOME": entry.pw_dir or "/",
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": entry.pw_shell or "/bin/sh",
    }
