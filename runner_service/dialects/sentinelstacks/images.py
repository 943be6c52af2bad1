"""The façade servicer of SentinelStacks' images and registry: translate, call a service, translate."""

from __future__ import annotations

from typing import Any

from runner.dialects.sentinelstacks.v1 import image_service_pb2 as pb
from runner.dialects.sentinelstacks.v1 import image_service_pb2_grpc
from runner_service.dialects.sentinelstacks import words
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.images import DEFAULT_TAG, TaggedImage
from runner_service.rpc.convert import times
from runner_service.services.images import Images


class SentinelImageServicer(image_service_pb2_grpc.ImageServiceServicer):
    """SentinelStacks' image and registry endpoints."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def ListImages(self, request: pb.ListImagesRequest, context: Any) -> pb.ListImagesResponse:
        return pb.ListImagesResponse(images=map(_entry, await self._images.list()))

    async def GetImage(self, request: pb.GetImageRequest, context: Any) -> pb.GetImageResponse:
        found = await self._images.get(request.id)
        manifest = found.image.manifest
        return pb.GetImageResponse(
            id=found.image.image_id,
            name=found.name,
            tag=found.tag,
            created_at=times.timestamp(found.image.created_at),
            size=found.image.size,
            llm=manifest.model,
            parameters=manifest.parameters,
            capabilities=manifest.capabilities,
            metadata=pb.GetImageResponse.Metadata(
                description=manifest.description, author=words.author(found), version=words.version(found)
            ),
        )

    async def SearchRegistry(self, request: pb.SearchRegistryRequest, context: Any) -> pb.SearchRegistryResponse:
        limit = words.number(request.limit, default=words.SEARCH_LIMIT, most=words.SEARCH_MOST)
        offset = words.number(request.offset, default=0, most=10**9)
        page = await self._images.search(request.query or request.q, limit=limit, offset=offset)
        return pb.SearchRegistryResponse(
            results=map(_result, page.images if limit else ()), total=page.total, offset=offset, limit=limit
        )

    async def PushImage(self, request: pb.PushImageRequest, context: Any) -> pb.PushImageResponse:
        if not (request.name and request.tag):
            raise InvalidArgument("Name and tag are required", field="name", problem="name the image")
        pushed = await self._images.push(
            name=request.name,
            tag=request.tag,
            reference=request.id or request.image_id,
            package=request.file if request.HasField("file") else None,
            description=request.description,
            metadata=dict(request.metadata),
        )
        return pb.PushImageResponse(
            id=pushed.image.image_id,
            name=pushed.name,
            tag=pushed.tag,
            status="pushed",
            message="Image pushed successfully",
        )

    async def PullImage(self, request: pb.PullImageRequest, context: Any) -> pb.PullImageResponse:
        if not request.name:
            raise InvalidArgument("Name is required", field="name", problem="name the image")
        pulled = await self._images.pull(request.name, request.tag or DEFAULT_TAG)
        return pb.PullImageResponse(
            id=pulled.image.image_id,
            name=pulled.name,
            tag=pulled.tag,
            status="pulled",
            message="Image pulled successfully",
        )


def _entry(value: TaggedImage) -> pb.ListImagesResponse.Entry:
    return pb.ListImagesResponse.Entry(
        id=value.image.image_id,
        name=value.name,
        tag=value.tag,
        created_at=times.timestamp(value.image.created_at),
        size=value.image.size,
        llm=value.image.manifest.model,
        parameters=value.image.manifest.parameters,
    )


def _result(value: TaggedImage) -> pb.SearchRegistryResponse.Result:
    manifest = value.image.manifest
    return pb.SearchRegistryResponse.Result(
        id=value.image.image_id,
        name=value.name,
        tag=value.tag,
        created_at=times.timestamp(value.image.created_at),
        size=value.image.size,
        llm=manifest.model,
        base_model=manifest.model,
        features=manifest.capabilities,
        description=manifest.description,
    )
