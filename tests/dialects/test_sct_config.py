"""contract/sct.md §10: the configuration files that SCT has, TLS, and what refuses to start."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sct_server import COMMANDS, CONTRACT, KEY, RUNNER, SctServer, clean_environment, refused

from runner_client import __version__
from runner_service.config import ConfigError, load


@pytest.mark.parametrize("arguments", [["--version"], ["serve", "--version"]])
def test_the_version_is_told(arguments: list[str]) -> None:
    done = subprocess.run(
        [RUNNER, *arguments], capture_output=True, text=True, timeout=90, env=clean_environment(), check=True
    )
    assert __version__ in done.stdout


def test_the_readmes_file_is_taken_as_it_is(server: SctServer) -> None:
    # The fixture serves it.
    assert server.config.read_text() == CONTRACT["config_of_the_readme"]
    assert server.client("sct-runner-key-2").list()["limit"] == 50
    assert "not known" not in server.errors


def test_the_installers_file_is_taken_as_it_is(make_server: Callable[..., SctServer], tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    server = make_server(CONTRACT["config_of_the_installer"], arguments=["--log-file", str(log)])
    sct = server.client("installer-key")
    assert sct.run("true")["timeout"] == 300
    assert sct.http.get("/health").json()["status"] == "healthy"
    assert server.client(KEY).http.get(COMMANDS).status_code == 401
    server.stop()
    # The log is in the file, says what was ignored, and a level that is none means info.
    assert "server.read_timeout_seconds" in log.read_text()
    assert "INFO" in log.read_text()
    assert "installer-key" not in log.read_text() + server.errors


def test_a_missing_file_means_the_defaults_and_the_key_of_the_environment(
    make_server: Callable[..., SctServer], tmp_path: Path
) -> None:
    server = make_server(
        environment={"SCT_AGENT_API_KEY": "only-key"}, arguments=["--config", str(tmp_path / "none.yaml")]
    )
    assert server.client("only-key").run("true")["timeout"] == 1800
    for key in (KEY, "default-api-key"):
        assert server.client(key).http.get(COMMANDS).json()["error"] == "Invalid API key"
    assert "none.yaml" in server.errors


def test_without_any_key_nobody_is_let_in(make_server: Callable[..., SctServer]) -> None:
    server = make_server("server: {host: 127.0.0.1}\nsecurity:\nstorage: {type: memory, cleanup_interval_hours: 24}\n")
    for key in ("default-api-key", "None", "null", "x"):
        assert server.client(key).http.get(COMMANDS).status_code == 401
    assert server.client(None).http.get("/health").status_code == 200
    assert "not known" not in server.errors


def test_tls_as_scts_installer_writes_it(make_server: Callable[..., SctServer], tmp_path: Path) -> None:
    certificate, key = tmp_path / "agent.crt", tmp_path / "agent.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
        timeout=90,
    )
    tls = {"enabled": True, "cert_file": str(certificate), "key_file": str(key)}
    server = make_server({"security": {"api_keys": [KEY], "tls": tls}})
    server.scheme = "https"
    trusting = server.client(verify=ssl.create_default_context(cafile=str(certificate)))
    assert trusting.run("echo over tls")["stdout"] == "over tls\n"
    assert trusting.http.get("/health").json()["status"] == "healthy"


BAD = [
    pytest.param("server: {port: 0}", "server.port", id="s10: port 0"),
    pytest.param("server: {port: 65536}", "server.port", id="s10: port 65536"),
    pytest.param("server: {port: web}", "server.port", id="s10: port is a word"),
    pytest.param("executor: {max_concurrent_jobs: 0}", "executor.max_concurrent_jobs", id="s10: no slot"),
    pytest.param("executor: {max_concurrent_jobs: -1}", "executor.max_concurrent_jobs", id="s10: negative slots"),
    pytest.param("executor: {default_timeout_seconds: 0}", "executor.default_timeout_seconds", id="s10: no time"),
    pytest.param(
        "executor: {default_timeout_seconds: -5}", "executor.default_timeout_seconds", id="s10: negative time"
    ),
    pytest.param("security: {api_keys: secret-key}", "security.api_keys", id="s10: keys are no list"),
    pytest.param("security: {api_keys: ['']}", "security.api_keys", id="s10: an empty key"),
    pytest.param("server: [1, 2", "agent.yaml", id="s10: no YAML"),
    pytest.param("- server", "agent.yaml", id="s10: a list"),
    pytest.param("server: 16000", "server", id="s10: a section is a number"),
    pytest.param(
        "security: {tls: {enabled: true, cert_file: /no/such.crt, key_file: /no/such.key}}",
        "/no/such.crt",
        id="s10: no certificate",
    ),
    pytest.param(
        "security: {tls: {enabled: true, cert_file: /etc/passwd, key_file: /etc/passwd}}",
        "/etc/passwd",
        id="s10: no PEM",
    ),
    pytest.param("security: {tls: {enabled: true}}", "tls", id="s10: TLS without files"),
]


@pytest.mark.parametrize(("config", "named"), BAD)
def test_a_bad_value_is_refused_and_named(tmp_path: Path, config: str, named: str) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(config)
    with pytest.raises(ConfigError) as refusal:
        load(path, {})
    assert named in str(refusal.value)
    assert "secret-key" not in str(refusal.value)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("executor: {max_concurrent_jobs: 0}", "executor.max_concurrent_jobs"),
        ("security: {tls: {enabled: true, cert_file: /no/such.crt, key_file: /no/such.key}}", "/no/such.crt"),
    ],
)
def test_a_server_with_a_bad_value_does_not_start(tmp_path: Path, config: str, named: str) -> None:
    message = refused("--grpc", "127.0.0.1:0", config=config, directory=tmp_path)
    assert message.startswith("runner: ") and named in message


@pytest.mark.parametrize("port", ["70000"])
def test_a_bad_port_on_the_command_line_refuses_to_start(tmp_path: Path, port: str) -> None:
    assert "give HOST:PORT" in refused("--http", f"127.0.0.1:{port}", directory=tmp_path)


def test_a_second_server_on_the_same_data_says_so(server: SctServer, tmp_path: Path) -> None:
    message = refused("--data-dir", str(server.data), "--grpc", "127.0.0.1:0", directory=tmp_path)
    assert str(server.data) in message


def test_a_port_that_is_taken_says_so(server: SctServer, tmp_path: Path) -> None:
    message = refused("--http", f"127.0.0.1:{server.port}", "--grpc", "127.0.0.1:0", directory=tmp_path)
    assert str(server.port) in message
