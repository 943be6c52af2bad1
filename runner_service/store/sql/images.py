"""Images of agents: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Sequence

from runner_service.domain.images import Image, Realm, TaggedImage
from runner_service.ports.store import Mark
from runner_service.ports.store.images import ImagePage
from runner_service.store import images
from runner_service.store.engine import Engine


class SqlImages:
    """`ImageStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
        return await self._engine.write(images.put, image, name, tag, realms, blob_key, mark)

    async def blob_of(self, files: str) -> str:
        return await self._engine.read(images.blob_of, files)

    async def get(self, image_id: str) -> Image:
        return await self._engine.read(images.get, image_id)

    async def find(self, realm: Realm, name: str, tag: str) -> TaggedImage:
        return await self._engine.read(images.find, realm, name, tag)

    async def tagged(self, realm: Realm, prefix: str, *, limit: int) -> Sequence[TaggedImage]:
        return await self._engine.read(images.tagged, realm, prefix, limit)

    async def list(self, realm: Realm, *, text: str = "", limit: int = 0, offset: int = 0) -> ImagePage:
        return await self._engine.read(images.list_images, realm, text, limit, offset)

    async def untag(self, realm: Realm, name: str, tag: str, *, mark: Mark | None = None) -> str:
        return await self._engine.write(images.untag, realm, name, tag, mark)
