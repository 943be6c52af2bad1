"""Directories as packages that the service takes."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from runner_client.cli.report import USAGE, CommandLineError

MANIFEST, IN_YAML = "agent.json", ("agent.yaml", "agent.yml")


def package_of(path: Path) -> bytes:
    """The bytes to push: an archive of a directory, or the file as it is.

    Raises:
        CommandLineError: The directory has no manifest, or one that cannot be read.
    """
    if not path.is_dir():
        return path.read_bytes() if path.name not in IN_YAML else _manifest(path)
    sources = [path / name for name in (MANIFEST, *IN_YAML) if (path / name).is_file()]
    if not sources:
        raise CommandLineError(f"{path} has no {MANIFEST}", "write one: see docs/how-to/write-an-agent.md", code=USAGE)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        _add(archive, MANIFEST, _manifest(sources[0]), 0o644)
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path).as_posix()
            hidden = any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(path).parts)
            if file.is_file() and not hidden and name not in (MANIFEST, *IN_YAML):
                _add(archive, name, file.read_bytes(), file.stat().st_mode & 0o777)
    return packed.getvalue()


def _manifest(path: Path) -> bytes:
    if path.name == MANIFEST:
        return path.read_bytes()
    import yaml

    try:
        return json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))).encode()
    except (yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise CommandLineError(f"{path} cannot be read: {error}", code=USAGE) from None


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    archive.addfile(member, io.BytesIO(data))
