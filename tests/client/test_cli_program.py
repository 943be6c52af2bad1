"""The program itself: help, completion, what the server adds, what is loaded when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import metadata

import pytest

from runner_client import __version__
from runner_client.cli import main
from runner_client.cli.app import COMMANDS

Points = Callable[[dict[str, str]], None]


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Points:
    """Installs other commands than this machine has."""

    def install(values: dict[str, str]) -> None:
        points = [metadata.EntryPoint(name, value, "runner.commands") for name, value in values.items()]
        monkeypatch.setattr(
            metadata, "entry_points", lambda **want: [p for p in points if want.get("name", p.name) == p.name]
        )

    return install


def echo_arguments(argv: list[str]) -> int:
    print("got", *argv)  # noqa: T201
    return 42


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str], entry_points: Points) -> None:
    entry_points({"serve": "nowhere:serve"})
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    listed = [line.split()[0] for line in shown.partition("Commands:\n")[2].splitlines()]
    assert listed == [*COMMANDS, "serve"]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: runner {name} ")
    assert "--server" in shown and "--json" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"runner {__version__}\n"


@pytest.mark.parametrize("argv", [["nonsense"], ["exec"], ["ps", "--nonsense"], ["exec", "--env", "A", "--", "x"]])
def test_wrong_command_line_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "Error: " in capsys.readouterr().err


def test_command_of_the_server_gets_its_arguments_as_they_are(
    capsys: pytest.CaptureFixture[str], entry_points: Points
) -> None:
    entry_points({"serve": f"{__name__}:echo_arguments"})
    assert main(["serve", "--help", "-x", "--", "y"]) == 42
    assert capsys.readouterr().out == "got --help -x -- y\n"


def test_option_before_a_command_of_the_server_is_not_lost_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "lab:1", "join", "--slots", "4"]) == 2
    assert capfd.readouterr().err == "runner: options of `runner join` stand behind its name — runner join …\n"


@pytest.mark.parametrize("points", [{}, {"serve": "no_such_module:serve"}])
def test_command_that_is_not_installed_says_how_to_get_it(
    points: dict[str, str], capfd: pytest.CaptureFixture[str], entry_points: Points
) -> None:
    entry_points(points)
    assert main(["serve"]) == 2
    said = capfd.readouterr().err
    assert said.startswith("runner: `runner serve` is not installed (")
    assert said.endswith(" — pip install 'runner-service[server]'\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_RUNNER_COMPLETE" in capfd.readouterr().out


def test_completion_completes_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_RUNNER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "runner ca")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert main([]) == 0
    assert capsys.readouterr().out == "plain,cancel\n"


def loaded_by(*argv: str) -> set[str]:
    program = f"import sys; from runner_client.cli import main; main({list(argv)!r}); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in ended.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize("argv", [["--help"], ["exec", "--help"], ["ps", "--help"], ["completion", "bash"]])
def test_help_loads_no_grpc(argv: list[str]) -> None:
    heavy = {"grpc", "rich", "yaml", "asyncio"}
    assert loaded_by(*argv) & (heavy if argv[0] != "completion" else {"grpc", "rich", "yaml"}) == set()


def test_exec_loads_only_what_it_needs() -> None:
    assert loaded_by("--server", "127.0.0.1:1", "exec", "true") & {"rich", "yaml", "pydantic", "typer"} == set()
