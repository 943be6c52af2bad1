"""The wheel, in a venv of its own: the base is client and command line, the extra `server` serves."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = ("serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")


class Installed:
    """A venv that holds the wheel, and of what the tests run with only what the wheel asks for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        venv.create(directory, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        wheels = directory / "wheels"
        subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT)], check=True)
        (wheel,) = wheels.glob("*.whl")
        python = str(directory / "bin" / "python")
        subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)], check=True)
        (self.packages,) = directory.glob("lib/python*/site-packages")
        (self._metadata,) = self.packages.glob("runner_service-*.dist-info")
        self._requires = importlib.metadata.PathDistribution(self._metadata).requires or []

    def extras(self) -> set[str]:
        return set(importlib.metadata.PathDistribution(self._metadata).metadata.get_all("Provides-Extra") or [])

    def add(self, extra: str = "") -> None:
        """What the wheel asks for with an extra, and what that asks for, from where the tests have it."""
        wanted, seen = [(text, extra) for text in self._requires], set[tuple[str, str]]()
        while wanted:
            text, of = wanted.pop()
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": of}):
                continue
            for its in ("", *requirement.extras):
                if (requirement.name, its) not in seen:
                    seen.add((requirement.name, its))
                    found = importlib.metadata.distribution(requirement.name)
                    self._link(found)
                    wanted += [(text, its) for text in found.requires or []]

    def _link(self, found: importlib.metadata.Distribution) -> None:
        for name in {file.parts[0] for file in found.files or []} - {"..", "__pycache__", "bin"}:
            if not (self.packages / name).exists():
                (self.packages / name).symlink_to(Path(str(found.locate_file(name))))

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self._directory / "bin" / "runner"), *arguments],
            cwd=self._directory,
            env={"PATH": os.environ["PATH"], "HOME": str(self._directory), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        with self.start(*arguments, **environment) as process:
            out, errors = process.communicate(timeout=60)
        return process.returncode, out, errors


@pytest.mark.slow
def test_the_wheel_is_a_client_and_with_its_extra_a_server(tmp_path: Path) -> None:
    installed = Installed(tmp_path / "venv")
    assert installed.extras() == {"server", "postgres", "s3"}
    for name in ("runner/descriptors.binpb", "runner/v1/job_pb2.py", "runner/py.typed", "runner_client/py.typed"):
        assert (installed.packages / name).is_file(), name
    installed.add()
    assert installed.run("--help")[0] == 0
    code, _, errors = installed.run("exec", "--server", "127.0.0.1:1", "--", "true")
    assert code == 125 and "no server answers" in errors
    code, _, errors = installed.run(*SERVE)
    assert code == 2 and "pip install 'runner-service[server]'" in errors
    installed.add("server")
    server = installed.start(*SERVE, "--data-dir", str(tmp_path / "data"))
    assert server.stdout is not None
    try:
        ready = server.stdout.readline()
        address = re.search(r"grpc://(\S+)", ready)
        assert address is not None, ready
        assert installed.run("exec", "--", "echo", "hello", RUNNER_SERVER=address[1]) == (0, "hello\n", "")
        server.terminate()
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()
