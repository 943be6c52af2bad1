"""Holds the protos against those of a tag: ``python proto/breaking.py TAG``, offline.

Both sides become descriptor images by protoc, because buf alone cannot resolve the google/api imports offline.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(tag: str) -> int:
    """Returns buf's exit code: 0 when nothing that a client relies on has changed."""
    with tempfile.TemporaryDirectory() as directory:
        old = Path(directory)
        archive = subprocess.run(["git", "archive", tag, "proto"], cwd=ROOT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(old, filter="data")
        subprocess.run([sys.executable, str(old / "proto" / "generate.py")], check=True)
        paths = [
            argument for path in ("runner/v1", "runner/gateway", "runner/dialects") for argument in ("--path", path)
        ]
        against = ["--against", str(old / "runner" / "descriptors.binpb"), "--against-config", "buf.yaml"]
        command = ["buf", "breaking", "runner/descriptors.binpb", "--config", "buf.yaml", *against, *paths]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
