"""Generates the import root ``runner`` from the protos beside this file.

The proto package, its directory and the Python package carry one name, so protoc's output is importable as
it is. Beside the stubs and their types lies ``descriptors.binpb``: every file with its imports and
source info (the comments), from which reflection-free tools and the OpenAPI document are made; and the one
proto that is for others to import, the gateway's options.

Run by the wheel's build hook, by ``make proto`` and by ``tests/conftest.py`` when a proto is newer than
the output; never committed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import grpc_tools
from google.rpc import code_pb2

ROOT = Path(__file__).resolve().parent.parent
DESCRIPTORS = "descriptors.binpb"
OPTIONS = "runner/gateway/v1/options.proto"


def sources(root: Path) -> list[Path]:
    """Every ``.proto`` below ``proto/``, sorted, so that the output does not depend on the file system."""
    return sorted((root / "proto").rglob("*.proto"))


def is_stale(root: Path = ROOT) -> bool:
    """Tells whether a proto, or this file, is newer than the generated tree (or there is no tree)."""
    stamp = root / "runner" / DESCRIPTORS
    if not stamp.exists():
        return True
    inputs = [*sources(root), Path(__file__)]
    generated = {path.relative_to(root / "runner") for path in (root / "runner").rglob("*_pb2.py")}
    wanted = {path.relative_to(root / "proto" / "runner").with_name(path.stem + "_pb2.py") for path in sources(root)}
    return generated != wanted or max(path.stat().st_mtime for path in inputs) > stamp.stat().st_mtime


def generate(root: Path = ROOT) -> None:
    """Rebuilds ``runner/`` from nothing; raises ``CalledProcessError`` when protoc refuses a proto."""
    output, staging = root / "runner", root / ".runner-staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    protos = [str(path.relative_to(root / "proto")) for path in sources(root)]
    plugin = Path(sys.executable).parent / "protoc-gen-mypy"
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{root / 'proto'}",
        # google/api/*.proto come from googleapis-common-protos, google/protobuf/*.proto from grpcio-tools.
        f"-I{Path(code_pb2.__file__).parent.parent.parent}",
        f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        f"--python_out={staging}",
        f"--grpc_python_out={staging}",
        f"--descriptor_set_out={staging / DESCRIPTORS}",
        "--include_imports",
        "--include_source_info",
    ]
    if plugin.exists():
        command += [f"--plugin=protoc-gen-mypy={plugin}", f"--mypy_out=quiet:{staging}"]
        command += [f"--plugin=protoc-gen-mypy_grpc={plugin}_grpc", f"--mypy_grpc_out=quiet:{staging}"]
    subprocess.run([*command, *protos], cwd=root / "proto", check=True)
    package = staging / "runner"
    (staging / DESCRIPTORS).rename(package / DESCRIPTORS)
    for directory in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (directory / "__init__.py").touch()
    (package / "py.typed").touch()
    # Others' protos import it: `protoc -I` of the place where this package lies finds it.
    shutil.copy(root / "proto" / OPTIONS, staging / OPTIONS)
    shutil.rmtree(output, ignore_errors=True)
    package.rename(output)
    shutil.rmtree(staging)


if __name__ == "__main__":
    generate()
