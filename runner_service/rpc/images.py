"""ImageService."""

from __future__ import annotations

from typing import Any

from runner.v1 import image_service_pb2 as pb
from runner.v1 import image_service_pb2_grpc
from runner_service.domain.images import DEFAULT_TAG
from runner_service.rpc.convert import images as convert
from runner_service.rpc.convert import paging
from runner_service.rpc.repeats import current_mark
from runner_service.services.images import Images


class ImageServicer(image_service_pb2_grpc.ImageServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def ListImages(self, request: pb.ListImagesRequest, context: Any) -> pb.ListImagesResponse:
        return pb.ListImagesResponse(images=map(convert.image, await self._images.list()))

    async def GetImage(self, request: pb.GetImageRequest, context: Any) -> pb.GetImageResponse:
        return pb.GetImageResponse(image=convert.image(await self._images.get(request.reference)))

    async def PushImage(self, request: pb.PushImageRequest, context: Any) -> pb.PushImageResponse:
        pushed = await self._images.push(
            name=request.name,
            tag=request.tag or DEFAULT_TAG,
            reference=request.reference,
            package=request.package if request.HasField("package") else None,
            description=request.description,
            metadata=dict(request.metadata),
            mark=current_mark.get(),
        )
        return pb.PushImageResponse(image=convert.image(pushed))

    async def PullImage(self, request: pb.PullImageRequest, context: Any) -> pb.PullImageResponse:
        pulled = await self._images.pull(request.name, request.tag or DEFAULT_TAG, mark=current_mark.get())
        return pb.PullImageResponse(image=convert.image(pulled))

    async def SearchImages(self, request: pb.SearchImagesRequest, context: Any) -> pb.SearchImagesResponse:
        page = await self._images.search(
            request.query,
            limit=paging.size(request.page_size, default=50, most=500),
            offset=paging.skip(request.skip),
        )
        return pb.SearchImagesResponse(images=map(convert.image, page.images), total_size=page.total)

    async def DeleteImage(self, request: pb.DeleteImageRequest, context: Any) -> pb.DeleteImageResponse:
        image = await self._images.delete(request.reference, mark=current_mark.get())
        return pb.DeleteImageResponse(image=convert.image(image))
