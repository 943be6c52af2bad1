"""Images that are there from the start: those that come with the service, and those of directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from runner_service.domain.images import ImageManifest, read_manifest
from runner_service.services.images import PackedFile
from runner_service.services.images.pack import MANIFEST_NAME

NAMES = ("echo", "openai-compatible")


def shipped_images() -> Iterator[tuple[str, ImageManifest, dict[str, PackedFile]]]:
    """Name, manifest and files of each that comes with the service."""
    for name in NAMES:
        with as_file(files(__package__).joinpath(name)) as directory:
            yield (name, *image_of(directory))


def image_of(directory: Path) -> tuple[ImageManifest, dict[str, PackedFile]]:
    """Manifest and files of a directory, hidden ones and caches left out.

    Raises:
        OSError: It cannot be read, or has no manifest.
        InvalidArgument: Its manifest is none.
    """
    manifest = read_manifest((directory / MANIFEST_NAME).read_bytes())
    packed = {}
    for path in sorted(directory.rglob("*")):
        parts = path.relative_to(directory).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden and parts != (MANIFEST_NAME,):
            packed["/".join(parts)] = PackedFile(path.read_bytes(), executable=os.access(path, os.X_OK))
    return manifest, packed
