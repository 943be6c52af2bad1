"""Files of jobs for lab queues."""

from __future__ import annotations

import json

import pytest

from runner_client.cli.job_file import JobFileError
from runner_client.cli.queue_file import parse_queue_file


def test_a_lab_s_own_json_is_not_touched() -> None:
    text = '{"test_data": {"test_cmds": "x"}, "n": 1.10}'
    assert parse_queue_file(text, "q") == text.encode()


def test_a_lab_s_own_yaml_becomes_json() -> None:
    text = "test_data:\n  test_cmds: |\n    one\n    two\ntags: [a]\nwhen: 2026-01-01\n"
    assert json.loads(parse_queue_file(text, "q")) == {
        "test_data": {"test_cmds": "one\ntwo\n"},
        "tags": ["a"],
        "when": "2026-01-01",
    }


def test_a_job_file_becomes_a_script_that_any_agent_can_run() -> None:
    text = (
        "steps: ['make \"all\"', {argv: [echo, \"it's\"]}]\nenvironment: {A: 'x y'}\nworking_directory: /srv\n"
        "timeout: 2m\nidle_timeout: 30s\npriority: 3\ntags: {branch: main, fast: ''}\n"
    )
    assert json.loads(parse_queue_file(text, "q")) == {
        "job_queue": "q",
        "test_data": {
            "test_cmds": "set -e\nexport A='x y'\ncd /srv\n/bin/sh -c 'make \"all\"'\necho 'it'\"'\"'s'\n",
        },
        "global_timeout": 120,
        "output_timeout": 30,
        "job_priority": 3,
        "tags": ["branch=main", "fast"],
    }


@pytest.mark.parametrize("key", ["secrets: {A: b}", "limits: {cpus: 1}", "labels: {os: linux}", "retries: 1"])
def test_what_agents_know_nothing_of_is_refused(key: str) -> None:
    with pytest.raises(JobFileError, match="know nothing of"):
        parse_queue_file(f"steps: ['true']\n{key}\n", "q")


@pytest.mark.parametrize("text", ["[1]", "just text", "a: [", '{"a": '])
def test_what_is_no_job_is_refused(text: str) -> None:
    with pytest.raises(JobFileError):
        parse_queue_file(text, "q")
