"""Use cases of images: make, push, search, pull, find, delete."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace

from runner_service.domain.blobs import new_key
from runner_service.domain.errors import ImageNotFound, InvalidArgument
from runner_service.domain.images import (
    DEFAULT_TAG,
    DIGEST_PREFIX,
    Image,
    ImageManifest,
    Realm,
    TaggedImage,
    check_name,
    check_tag,
    digest_of,
    make_image,
    split_reference,
)
from runner_service.ports.blobs import BlobNotFound, Blobs
from runner_service.ports.registries import RemoteRegistry
from runner_service.ports.store import Mark
from runner_service.ports.store.images import ImagePage, ImageStore
from runner_service.services.images.pack import PackedFile, open_package, with_files

BOTH = (Realm.LOCAL, Realm.REGISTRY)
_HEX = frozenset("0123456789abcdef")
_LEAST_PREFIX = 4
"""Digits of an id that are taken for the start of one."""


class Images:
    """Images of agents, here and in registries."""

    def __init__(self, *, store: ImageStore, blobs: Blobs, remote: RemoteRegistry | None = None) -> None:
        self._store = store
        self._blobs = blobs
        self._remote = remote

    async def add(
        self, manifest: ImageManifest, files: Mapping[str, PackedFile], *, name: str, tag: str = DEFAULT_TAG
    ) -> TaggedImage:
        """Stores an image that is made here, under a name in both realms."""
        complete, archive = await asyncio.to_thread(with_files, manifest, files)
        return await self._put(make_image(complete), archive, name, tag, None)

    async def push(
        self,
        *,
        name: str,
        tag: str,
        reference: str = "",
        package: bytes | None = None,
        description: str = "",
        metadata: Mapping[str, str] | None = None,
        mark: Mark | None = None,
    ) -> TaggedImage:
        """Puts an image into the registry, and into the one elsewhere if there is one: what ``package`` holds, else the
        local image ``reference``, else the local image of that name, else one that is a description alone.
        ``description`` and ``metadata`` are laid over what it says of itself.

        Raises:
            InvalidArgument: Name, tag or package are none.
            ImageNotFound: There is no image ``reference``.
            RegistryUnavailable: The one elsewhere did not take it; here it is.
        """
        check_name(name)
        check_tag(tag)
        if package is not None:
            manifest, archive = await asyncio.to_thread(open_package, package)
        else:
            image = await self._known(reference, name, tag)
            manifest = image.manifest if image is not None else ImageManifest()
            archive = await self.files(manifest)
        manifest = _described(manifest, description, metadata or {})
        tagged = await self._put(make_image(manifest), archive, name, tag, mark)
        if self._remote is not None:
            await self._remote.push(tagged, archive)
        return tagged

    async def pull(self, name: str, tag: str = DEFAULT_TAG, *, mark: Mark | None = None) -> TaggedImage:
        """Makes an image of the registry a local one: of the one elsewhere if there is one, else of our own.

        Raises:
            ImageNotFound: It is in neither.
            RegistryUnavailable: The one elsewhere does not answer, and our own does not have it.
        """
        problem: Exception | None = None
        if self._remote is not None:
            try:
                image, archive = await self._remote.pull(name, tag)
                return await self._put(image, archive, name, tag, mark)
            except ImageNotFound:
                pass
            except Exception as error:
                problem = error
        try:
            found = await self._store.find(Realm.REGISTRY, name, tag or DEFAULT_TAG)
        except ImageNotFound:
            if problem is not None:
                raise problem from None
            raise
        put, _ = await self._store.put(found.image, name=found.name, tag=found.tag, realms=(Realm.LOCAL,), mark=mark)
        return put

    async def search(self, text: str, *, limit: int, offset: int = 0) -> ImagePage:
        """Images of the registry by name and tag; behind ours come those of the one elsewhere that we do not have."""
        page = await self._store.list(Realm.REGISTRY, text=text, limit=limit, offset=offset)
        if self._remote is None:
            return page
        ours = await self._store.list(Realm.REGISTRY, text=text)
        known = {image.reference for image in ours.images}
        others = await self._remote.search(text, limit=limit + offset)
        images = [*ours.images, *(image for image in others if image.reference not in known)]
        return ImagePage(images=tuple(images[offset : offset + limit]), total=len(images))

    async def list(self) -> Sequence[TaggedImage]:
        """The local images by name and tag."""
        return (await self._store.list(Realm.LOCAL)).images

    async def get(self, reference: str) -> TaggedImage:
        """A local image by its id, the start of its id if it is the only one with it, ``name`` or ``name:tag``.

        Raises:
            ImageNotFound: There is none, or several begin so.
        """
        digits = reference.removeprefix(DIGEST_PREFIX)
        if reference.startswith(DIGEST_PREFIX) or (len(digits) >= _LEAST_PREFIX and _HEX.issuperset(digits)):
            found = await self._store.tagged(Realm.LOCAL, DIGEST_PREFIX + digits, limit=100)
            ids = {each.image.image_id for each in found}
            if len(ids) == 1:
                return found[0]
            if reference.startswith(DIGEST_PREFIX):
                raise ImageNotFound(reference=reference)
        name, tag = split_reference(reference)
        return await self._store.find(Realm.LOCAL, name, tag)

    async def resolve(self, reference: str) -> TaggedImage:
        """A local image, pulled first when only a registry has it. Raises as `get` and `pull`."""
        try:
            return await self.get(reference)
        except ImageNotFound:
            if reference.startswith(DIGEST_PREFIX):
                raise
        return await self.pull(*split_reference(reference))

    async def delete(self, reference: str, *, mark: Mark | None = None) -> TaggedImage:
        """Takes a local name away; by an id, the first of its names. Raises `ImageNotFound`."""
        found = await self.get(reference)
        freed = await self._store.untag(Realm.LOCAL, found.name, found.tag, mark=mark)
        await self._drop([freed] if freed else [])
        return found

    async def files(self, manifest: ImageManifest) -> bytes:
        """The archive of an image's files; empty: it has none."""
        if not manifest.files:
            return b""
        try:
            return await self._blobs.read(await self._store.blob_of(manifest.files), 0, manifest.files_bytes)
        except BlobNotFound:
            raise ImageNotFound(reference=manifest.files) from None

    async def _known(self, reference: str, name: str, tag: str) -> Image | None:
        if reference:
            return (await self.get(reference)).image
        try:
            return (await self._store.find(Realm.LOCAL, name, tag)).image
        except ImageNotFound:
            return None

    async def _put(self, image: Image, archive: bytes, name: str, tag: str, mark: Mark | None) -> TaggedImage:
        check_name(name)
        check_tag(tag)
        if image.manifest.files and digest_of(archive) != image.manifest.files:
            raise InvalidArgument(field="file", problem="it is not what its digest says")
        # Written before the row that names it, and deleted after: a crash between leaves a blob that nobody names.
        key = new_key("images") if archive else ""
        if key:
            await self._blobs.put(key, _once(archive))
            await self._mend(image.manifest, archive)
        tagged, freed = await self._store.put(image, name=name, tag=tag, realms=BOTH, blob_key=key, mark=mark)
        await self._drop(freed)
        return tagged

    async def _mend(self, manifest: ImageManifest, archive: bytes) -> None:
        """Writes files anew where a row names them and they are gone, as after a restore without its blobs."""
        try:
            await self.files(manifest)
        except ImageNotFound:
            try:
                known = await self._store.blob_of(manifest.files)
            except ImageNotFound:
                return  # They are new.
            await self._blobs.put(known, _once(archive))

    async def _drop(self, freed: Iterable[str]) -> None:
        for key in freed:
            await self._blobs.delete(key)


def _described(manifest: ImageManifest, description: str, metadata: Mapping[str, str]) -> ImageManifest:
    """Lays over a manifest what a push says. Members that a manifest has go there, the rest into its metadata."""
    rest = dict(metadata)
    author, version = rest.pop("author", manifest.author), rest.pop("version", manifest.version)
    model = rest.pop("llm", "") or rest.pop("model", manifest.model)
    entrypoint, capabilities = manifest.entrypoint, manifest.capabilities
    if said := rest.pop("entrypoint", ""):
        try:
            entrypoint = tuple(shlex.split(said))
        except ValueError:
            raise InvalidArgument(field="metadata.entrypoint", problem="a quote is not closed") from None
    if said := rest.pop("capabilities", ""):
        capabilities = tuple(word.strip() for word in said.split(",") if word.strip())
    return replace(
        manifest,
        description=description or rest.pop("description", "") or manifest.description,
        author=author,
        version=version,
        model=model,
        entrypoint=entrypoint,
        capabilities=capabilities,
        metadata={**manifest.metadata, **rest},
    )


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
