from __future__ import annotations

import pwd
from os import geteuid

from runner_service.worker.executors.environment import DEFAULT_PATH, job_environment

SERVICE = {
    "PATH": "/opt/tools/bin",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "C",
    "TZ": "Europe/Berlin",
    "TMPDIR": "/scratch",
    "HOME": "/home/somebody-else",
    "RUNNER_STORE_URL": "postgresql://secret",
    "SCT_AGENT_API_KEY": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "PYTHONPATH": "/srv",
}


def test_nothing_of_the_service_reaches_a_job_but_the_declared_basics() -> None:
    environment = job_environment({}, job_id="j", attempt_id="a", host=SERVICE)
    assert set(environment) == {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"),
        *("RUNNER_JOB_ID", "RUNNER_ATTEMPT_ID"),
    }
    assert environment["TZ"] == "Europe/Berlin"


def test_the_account_comes_from_the_password_file() -> None:
    environment = job_environment({}, job_id="j", attempt_id="a", host=SERVICE)
    assert environment["HOME"] == pwd.getpwuid(geteuid()).pw_dir


def test_the_path_of_the_host_is_completed_by_the_standard_folders() -> None:
    environment = job_environment({}, job_id="j", attempt_id="a", host=SERVICE)
    assert environment["PATH"] == f"/opt/tools/bin:{DEFAULT_PATH}"
    assert job_environment({}, job_id="j", attempt_id="a", host={})["PATH"] == DEFAULT_PATH


def test_the_job_wins_over_the_basics_but_not_over_who_it_is() -> None:
    job = {"PATH": "/mine", "GREETING": "hello", "RUNNER_ATTEMPT_ID": "forged", "TZ": ""}
    environment = job_environment(job, job_id="j", attempt_id="a", host=SERVICE)
    assert (environment["PATH"], environment["GREETING"], environment["TZ"]) == ("/mine", "hello", "")
    assert (environment["RUNNER_JOB_ID"], environment["RUNNER_ATTEMPT_ID"]) == ("j", "a")
