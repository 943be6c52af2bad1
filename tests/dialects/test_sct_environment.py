"""contract/sct.md §7: what a command finds in its environment, and what it does not."""

from __future__ import annotations

import shutil

from sct_server import Sct

SECRETS = (
    "key-of-the-environment",
    "secret-of-the-service",
    "sct-runner-key-1",
    "SCT_AGENT_API_KEY",
    "DATABASE_PASSWORD",
)
ENVIRONMENTS_ABOVE = """
pid=$PPID
while [ "$pid" -gt 1 ]; do
    case "$(tr '\\0' ' ' < /proc/$pid/cmdline)" in
        *runner_service*) cat /proc/$pid/environ ;;
        *) exit ;;
    esac
    pid=$(awk '/^PPid/ {print $2}' /proc/$pid/status)
done
"""
"""Prints those of the processes that made the command, up to the worker: a job of the same user can read them."""


def environment(sct: Sct, **members: object) -> dict[str, str]:
    job = sct.ended(sct.submit("/usr/bin/env", "-0", **members))
    pairs = (line.partition("=") for line in job["stdout"].split("\0") if line)
    return {name: value for name, _, value in pairs}


def test_the_base_is_minimal(sct: Sct) -> None:
    found = environment(sct)
    base = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
    own = {"RUNNER_JOB_ID", "RUNNER_ATTEMPT_ID"}
    assert {name for name in found if not name.startswith("LC_")} <= base | own
    assert {"PATH", "HOME", "USER", "LOGNAME", "SHELL"} <= set(found)


def test_env_is_laid_over_the_base(sct: Sct) -> None:
    base = environment(sct)
    found = environment(sct, env={"HOME": "/elsewhere", "MINE": "a=b\nc", "EMPTY": ""})
    assert (found["HOME"], found["MINE"], found["EMPTY"]) == ("/elsewhere", "a=b\nc", "")
    own = {"HOME", "MINE", "EMPTY", "RUNNER_JOB_ID", "RUNNER_ATTEMPT_ID"}
    assert {name: value for name, value in found.items() if name not in own} == {
        name: value for name, value in base.items() if name not in own
    }


def test_path_is_that_of_root(sct: Sct) -> None:
    found = environment(sct)
    for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        assert folder in found["PATH"].split(":")


def test_the_command_is_looked_up_in_the_services_path(sct: Sct) -> None:
    job = sct.ended(sct.submit("bash", "-c", "command -v true"))
    assert job["status"] == "completed"
    assert shutil.which("bash")


def test_the_services_secrets_are_neither_there_nor_readable(sct: Sct) -> None:
    for members in ({}, {"env": {"A": "b"}}):
        shown = str(environment(sct, **members))
        assert not [secret for secret in SECRETS if secret in shown]
    job = sct.run(ENVIRONMENTS_ABOVE)
    assert job["status"] == "completed" and "PATH=" in job["stdout"]
    assert not [secret for secret in SECRETS if secret in job["stdout"]]


def test_no_open_files_of_the_service_are_handed_down(sct: Sct) -> None:
    job = sct.ended(sct.submit("ls", "/proc/self/fd"))
    # The three streams, and the folder that ls itself reads.
    assert job["stdout"].split() == ["0", "1", "2", "3"]
