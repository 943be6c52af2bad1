"""Images that come with the service, each a directory with ``agent.json`` and its files."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from runner_service.domain.images import ImageManifest, read_manifest
from runner_service.services.images import PackedFile
from runner_service.services.images.pack import MANIFEST_NAME

NAMES = ("echo", "openai-compatible")


def shipped_images() -> Iterator[tuple[str, ImageManifest, dict[str, PackedFile]]]:
    """Name, manifest and files of each."""
    for name in NAMES:
        directory = files(__package__).joinpath(name)
        manifest = read_manifest(directory.joinpath(MANIFEST_NAME).read_bytes())
        packed = {
            entry.name: PackedFile(entry.read_bytes())
            for entry in directory.iterdir()
            if entry.is_file() and entry.name != MANIFEST_NAME
        }
        yield name, manifest, packed
