"""Images of agents, as typed calls: :attr:`runner_client.AsyncClient.images`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from grpc import aio

from runner.v1.image_service_pb2_grpc import ImageServiceStub
from runner_client.calls import CALL_SECONDS, Caller

if TYPE_CHECKING:
    from runner.v1.image_pb2 import Image

REGISTRY_SECONDS = 120.0
"""A registry elsewhere may be slow."""


class ImageCalls:
    """Images of a server and its registry. Made by the client."""

    def __init__(self, channel: aio.Channel, caller: Caller) -> None:
        self._stub = ImageServiceStub(channel)
        self._caller = caller

    async def list_all(self) -> list[Image]:
        """Returns the images that agents can be made from, by name and tag."""
        from runner.v1.image_service_pb2 import ListImagesRequest

        return list((await self._caller.unary(self._stub.ListImages, ListImagesRequest())).images)

    async def get(self, reference: str) -> Image:
        """Returns one image, by ``name``, ``name:tag``, its id or the start of it."""
        from runner.v1.image_service_pb2 import GetImageRequest

        return (await self._caller.unary(self._stub.GetImage, GetImageRequest(reference=reference))).image

    async def push(
        self,
        name: str,
        tag: str = "",
        *,
        package: bytes | None = None,
        reference: str = "",
        description: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> Image:
        """Puts an image into the registry: a package (a tar archive with ``agent.json``), or one that is there."""
        from runner.v1.image_service_pb2 import PushImageRequest

        request = PushImageRequest(
            name=name, tag=tag, package=package, reference=reference, description=description, metadata=metadata
        )
        seconds = CALL_SECONDS + REGISTRY_SECONDS
        return (await self._caller.unary(self._stub.PushImage, request, seconds=seconds)).image

    async def pull(self, name: str, tag: str = "") -> Image:
        """Gets an image from the registry."""
        from runner.v1.image_service_pb2 import PullImageRequest

        request = PullImageRequest(name=name, tag=tag)
        seconds = CALL_SECONDS + REGISTRY_SECONDS
        return (await self._caller.unary(self._stub.PullImage, request, seconds=seconds)).image

    async def search(self, query: str = "", *, limit: int = 50) -> list[Image]:
        """Returns images of the registry that have ``query`` in name or model."""
        from runner.v1.image_service_pb2 import SearchImagesRequest

        request = SearchImagesRequest(query=query, page_size=limit)
        seconds = CALL_SECONDS + REGISTRY_SECONDS
        return list((await self._caller.unary(self._stub.SearchImages, request, seconds=seconds)).images)

    async def delete(self, reference: str) -> Image:
        """Takes a name away from the images that are here; the registry keeps it."""
        from runner.v1.image_service_pb2 import DeleteImageRequest

        return (await self._caller.unary(self._stub.DeleteImage, DeleteImageRequest(reference=reference))).image
