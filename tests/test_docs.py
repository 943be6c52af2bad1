"""The reference pages name everything that there is, and links lead somewhere."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from gateway.errors import Reason
from runner_client.cli.app import app
from runner_client.cli.extensions import EXTENSIONS, GROUP
from runner_service import config
from runner_service.domain.errors import RunnerError

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def leaves(kind: type[RunnerError]) -> Iterator[type[RunnerError]]:
    below = kind.__subclasses__()
    for each in below:
        yield from leaves(each)
    if not below:
        yield kind


def test_the_error_page_names_every_reason() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    ours = {kind.reason for kind in leaves(RunnerError) if kind.__module__.startswith("runner_service.domain.errors")}
    missing = [reason for reason in (*sorted(ours), *Reason) if f"`{reason}`" not in page]
    assert missing == []


def test_the_settings_page_names_every_setting() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    missing = []
    for name, field in config.Settings.model_fields.items():
        section = field.annotation
        keys = [name]
        if isinstance(section, type) and issubclass(section, config.Section):
            keys = [f"{name}.{key}" for key in section.model_fields]
        missing += [key for key in keys if f"`{key}`" not in page]
    assert missing == []


def test_commands_that_errors_advise_do_something() -> None:
    advised = [
        (kind.__name__, words.split())
        for kind in leaves(RunnerError)
        for words in re.findall(r"`runner ([a-z -]+)`", kind.__doc__ or "")
    ]
    assert len(advised) >= 6
    for name, words in advised:
        command: click.Command = app
        for word in words:
            if word.startswith("-"):
                assert any(word in option.opts for option in command.params), (name, words)
                continue
            assert isinstance(command, click.Group), (name, words)
            found = command.get_command(click.Context(command), word)
            assert found is not None, (name, words)
            command = found
        # A group by itself shows its help alone.
        assert not isinstance(command, click.Group) or command.invoke_without_command, (name, words)


def options_of_the_command_line() -> Iterator[tuple[str, str]]:
    """The name of each command with each of its long options."""
    commands = [((), app)]
    while commands:
        path, command = commands.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
            commands += [((*path, name), each) for name, each in below if each is not None]
        for parameter in command.params:
            yield from ((" ".join(path), option) for option in parameter.opts if option.startswith("--"))
    for name in EXTENSIONS:
        [point] = entry_points(group=GROUP, name=name)
        with pytest.raises(SystemExit), redirect_stdout(io.StringIO()) as text:
            point.load()(["--help"])
        yield from ((name, option) for option in set(re.findall(r"--[a-z-]+", text.getvalue())))


def test_the_page_of_the_command_line_names_every_option() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    missing = [(name, option) for name, option in options_of_the_command_line() if not re.search(rf"{option}\b", page)]
    assert [each for each in missing if each[1] not in ("--help", "--version")] == []


def test_no_two_decisions_have_one_number() -> None:
    numbers = [page.name[:4] for page in (ROOT / "docs" / "adr").glob("[0-9]*.md")]
    assert len(numbers) == len(set(numbers)) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_every_guarantee_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "explanation" / "guarantees.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| guarantee")]
    assert len(rows) >= 10
    for row in rows:
        named = re.findall(r"`(tests/[^`:]+)(?:::([^`]+))?`", row.split("|")[3])
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text() if test else (ROOT / file).exists(), (file, test)


def test_a_proto_of_ones_own_is_compiled_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "serve-your-own-proto.md").read_text()
    (script,) = (block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "grpc_tools.protoc" in block)
    (tmp_path / "library.proto").write_text(
        'syntax = "proto3"; import "google/api/annotations.proto"; import "runner/gateway/v1/options.proto";'
        "service Library { rpc Get(Book) returns (Book) {"
        ' option (google.api.http) = {get: "/books"}; option (runner.gateway.v1.method) = {success_status: 203}; } }'
        " message Book {}"
    )
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", script], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert (tmp_path / "library_pb2_grpc.py").exists()
