"""Images of agents, and the names they go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runner_service.domain.images import Image, Realm, TaggedImage
from runner_service.ports.store.answers import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePage:
    """Some images of a list."""

    images: tuple[TaggedImage, ...]
    total: int
    """Images that match, on all pages."""


class ImageStore(Protocol):
    """Images and their names. The files of an image are blobs; here is who they belong to."""

    async def put(
        self,
        image: Image,
        *,
        name: str,
        tag: str,
        realms: Sequence[Realm],
        blob_key: str = "",
        mark: Mark | None = None,
    ) -> tuple[TaggedImage, Sequence[str]]:
        """Stores an image unless it is known, and points ``name:tag`` to it in each realm, whatever it pointed to
        before. Stamps ``created_at`` of a new image. With it come the keys of blobs that no image has any more, because
        it took the last name of another; and ``blob_key`` if images with the same files have theirs already. Said again
        with its ``mark`` it takes the name from nobody who got it since.

        Raises:
            ImageNotFound: It has files, none are given, and no image that is known has them.
            UploadLate: The files were on their way for too long.
        """
        ...

    async def blob_of(self, files: str) -> str:
        """The key of the blob with the files of this digest. Raises `ImageNotFound`."""
        ...

    async def get(self, image_id: str) -> Image:
        """Raises `ImageNotFound`."""
        ...

    async def find(self, realm: Realm, name: str, tag: str) -> TaggedImage:
        """Raises `ImageNotFound`."""
        ...

    async def tagged(self, realm: Realm, prefix: str, *, limit: int) -> Sequence[TaggedImage]:
        """Names of images whose id begins with ``prefix``, by id, then name and tag."""
        ...

    async def list(self, realm: Realm, *, text: str = "", limit: int = 0, offset: int = 0) -> ImagePage:
        """Images by name and tag; ``text``: only those that have it in name or model, in any case. ``limit`` 0: all."""
        ...

    async def untag(self, realm: Realm, name: str, tag: str, *, mark: Mark | None = None) -> str:
        """Takes a name away, and with its last name the image. Returns the key of the blob that no image has any more;
        empty when there is none. Raises `ImageNotFound`."""
        ...
