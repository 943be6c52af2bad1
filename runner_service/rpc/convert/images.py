"""Images of agents."""

from __future__ import annotations

from runner.v1 import image_pb2
from runner_service.domain.images import ImageManifest, TaggedImage
from runner_service.rpc.convert import times


def image(value: TaggedImage) -> image_pb2.Image:
    return image_pb2.Image(
        image_id=value.image.image_id,
        name=value.name,
        tag=value.tag,
        create_time=times.timestamp(value.image.created_at),
        size_bytes=value.image.size,
        manifest=manifest(value.image.manifest),
    )


def manifest(value: ImageManifest) -> image_pb2.ImageManifest:
    return image_pb2.ImageManifest(
        entrypoint=value.entrypoint,
        description=value.description,
        author=value.author,
        version=value.version,
        model=value.model,
        multimodal=value.multimodal,
        parameters=value.parameters,
        environment=value.environment,
        capabilities=value.capabilities,
        tools=[image_pb2.Tool(name=tool.name, description=tool.description) for tool in value.tools],
        metadata=value.metadata,
        files_digest=value.files,
        container=value.container,
    )
