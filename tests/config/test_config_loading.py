"""What is said of a configuration that is not as it was meant."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from runner_service.config import ConfigError, load


def write(directory: Path, text: str) -> Path:
    path = directory / "server.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("serer: {port: 1}", "serer"),
        ("server: {prot: 1}", "server.prot"),
        ("security: {tls: {enabeld: true}}", "security.tls.enabeld"),
        ("security: {api_keys: [one, {key: two, roel: admin}]}", "security.api_keys.1.roel"),
        ("testflinger: {clients: [{client_id: a, secret: b, rol: admin}]}", "testflinger.clients.0.rol"),
    ],
)
def test_a_key_that_is_not_known_is_named_at_any_depth(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, named: str
) -> None:
    path = write(tmp_path, text)
    with caplog.at_level(logging.WARNING):
        load(path, {})
    [record] = caplog.records
    assert record.getMessage() == f"settings of {path} that are not known are ignored: {named}"


def test_names_that_operators_choose_are_no_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "sentinel: {users: {me: pass}}\ntestflinger: {commands: {'*': {setup: 'true'}}}\nstorage: {type: memory}\n"
    load(write(tmp_path, text), {})
    assert caplog.records == []


@pytest.mark.parametrize(
    ("flags", "variables", "source"),
    [
        ({}, {}, "in {path}"),
        ({}, {"PORT": "many"}, "in the variable PORT"),
        ({}, {"RUNNER_SERVER_PORT": "many", "PORT": "1"}, "in the variable RUNNER_SERVER_PORT"),
        ({"server": {"port": "many"}}, {"RUNNER_SERVER_PORT": "1"}, "on the command line"),
    ],
)
def test_a_bad_value_is_said_with_the_place_that_it_was_read_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: dict[str, Any],
    variables: dict[str, str],
    source: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    path = write(tmp_path, "server: {port: web}")
    with pytest.raises(ConfigError) as refusal:
        load(path, flags)
    assert str(refusal.value).startswith(f"the setting server.port {source.format(path=path)} is not valid: ")


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(write(tmp_path, "server: {grpc: here}\nretention: {jobs_days: soon}\n"), {})
    message = str(refusal.value)
    assert "server.grpc" in message and "is not valid: give HOST:PORT; " in message and "retention.jobs_days" in message


def test_a_file_that_is_no_yaml_is_said_to_be_so_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, "server:\n  port: [1\n")
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*server.yaml: .* line 3") as raised:
        load(path, {})
    assert "\n" not in str(raised.value)
