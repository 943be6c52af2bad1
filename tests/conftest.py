"""Shared by every room of the tests: the stubs are rebuilt before anything imports them."""

from __future__ import annotations

import fcntl
import importlib.util
import tempfile
from pathlib import Path


def _build_stubs() -> None:
    path = Path(__file__).resolve().parent.parent / "proto" / "generate.py"
    spec = importlib.util.spec_from_file_location("proto_generate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # One builder at a time, so that parallel runs never import half a tree.
    with (Path(tempfile.gettempdir()) / "runner-service-stubs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if module.is_stale():
            module.generate()


_build_stubs()
