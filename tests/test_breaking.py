"""`make lint` holds the protos against the last tag, offline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_what_breaks_clients_is_found_and_what_does_not_is_not(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    tools = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=tools, text=True, capture_output=True, check=False)

    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "one"), ("tag", "v1")):
        assert run("git", *command).returncode == 0

    def breaking() -> subprocess.CompletedProcess[str]:
        assert run(sys.executable, "proto/generate.py").returncode == 0
        return run(sys.executable, "proto/breaking.py", "v1")

    proto = tmp_path / "proto" / "runner" / "v1" / "secret.proto"
    text = proto.read_text()
    proto.write_text(text.replace("\n}\n", "\n\n  // More.\n  string more = 99;\n}\n", 1))
    same = breaking()
    assert same.returncode == 0, same.stdout + same.stderr
    proto.write_text(text.replace("string name = 1;", "int64 name = 1;"))
    other = breaking()
    assert other.returncode not in (0, 1) and "secret.proto" in other.stdout, other.stdout + other.stderr
