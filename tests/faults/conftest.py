"""The faults strike a real server in a process of its own: that of the end-to-end tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from e2e_server import ServerProcess


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that is killed again and again; at its end nothing may be left of it."""
    process = ServerProcess(tmp_path)
    process.start()
    yield process
    sys.stderr.write(process.errors)
    process.close()
