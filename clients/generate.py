"""Generates the typed stubs of the clients in other languages: ``python clients/generate.py typescript|go``.

They are made from the native API alone (``proto/runner/v1`` and what it imports) by grpcio-tools' protoc and the
language's own plugin, into a directory that is never committed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import grpc_tools
from google.rpc import code_pb2

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = ROOT / "clients"
GO_PACKAGE = "runner-service/clients/go"
"""The import path that the Go client's own sources have."""

COMMON_PROTOS = Path(code_pb2.__file__).parent.parent.parent
"""Where googleapis-common-protos has the protos of Google that ours import."""


def sources() -> list[str]:
    """The protos of the native API, and of the options on it, as they are imported."""
    proto = ROOT / "proto"
    folders = [proto / "runner" / "v1", proto / "runner" / "gateway" / "v1"]
    return sorted(str(path.relative_to(proto)) for folder in folders for path in folder.glob("*.proto"))


def protoc(output: Path, *arguments: str) -> None:
    """Runs protoc with an empty ``output`` directory; raises ``CalledProcessError`` when it or its plugin fails."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"-I{ROOT / 'proto'}",
        f"-I{COMMON_PROTOS}",
        f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
        *arguments,
    ]
    subprocess.run(command, cwd=ROOT / "proto", check=True)


def typescript() -> None:
    """Needs ``npm ci`` in ``clients/typescript``."""
    home = CLIENTS / "typescript"
    output = home / "src" / "gen"
    protoc(
        output,
        f"--plugin=protoc-gen-es={home / 'node_modules' / '.bin' / 'protoc-gen-es'}",
        f"--es_out={output}",
        "--es_opt=target=ts,import_extension=js",
        *sources(),
        # The plugin makes no stubs of what is imported, nor of the details of errors, which nothing imports.
        *("google/api/annotations.proto", "google/api/http.proto", "google/rpc/error_details.proto"),
    )


def go() -> None:
    """Needs ``protoc-gen-go`` and ``protoc-gen-go-grpc`` on PATH."""
    output = CLIENTS / "go" / "gen"
    protos = [*sources()]
    names = {proto: f"{GO_PACKAGE}/gen/{Path(proto).parent}" for proto in protos}
    options = ",".join(["paths=source_relative", *(f"M{proto}={name}" for proto, name in names.items())])
    protoc(
        output,
        *(f"--go_out={output}", f"--go_opt={options}"),
        *(f"--go-grpc_out={output}", f"--go-grpc_opt={options}"),
        *protos,
    )


if __name__ == "__main__":
    {"typescript": typescript, "go": go}[sys.argv[1]]()
