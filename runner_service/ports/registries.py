"""Registries of images elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner_service.domain.images import Image, TaggedImage


class RemoteRegistry(Protocol):
    """A registry of another service. An image that was pushed is pulled again with the same id.

    Every method raises `RegistryUnavailable` when the registry cannot be reached, refuses us, or talks nonsense.
    """

    async def push(self, tagged: TaggedImage, files: bytes) -> None:
        """Stores the image there under its name and tag. ``files``: its archive; empty: it has none."""
        ...

    async def pull(self, name: str, tag: str) -> tuple[Image, bytes]:
        """Gets an image and the archive of its files, both checked against their digests. Raises `ImageNotFound`."""
        ...

    async def search(self, text: str, *, limit: int) -> Sequence[TaggedImage]:
        """Some images that have ``text`` in their name, in any case; not those of other kinds."""
        ...
