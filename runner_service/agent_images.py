"""A part of the composition root: from the settings to the images of agents, and where else they are."""

from __future__ import annotations

from contextlib import AsyncExitStack

from runner_service.config import ConfigError, Settings
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.images import split_reference
from runner_service.ports.registries import RemoteRegistry
from runner_service.services.images import Images
from runner_service.shipped import image_of, shipped_images


async def make_images(settings: Settings, images: Images) -> None:
    """Those that are there from the start. What it cannot make is a fault of the settings."""
    if settings.agents.shipped_images:
        for name, manifest, packed in shipped_images():
            await images.add(manifest, packed, name=name)
    for reference, directory in settings.agents.images.items():
        name, tag = split_reference(reference)
        try:
            await images.add(*image_of(directory), name=name, tag=tag)
        except (OSError, InvalidArgument) as error:
            raise ConfigError(f"agents.images: {reference} cannot be made from {directory}: {error}") from None


def open_registry(settings: Settings, stack: AsyncExitStack) -> RemoteRegistry | None:
    """The registry elsewhere, if the settings name one."""
    if not settings.agents.registry_url:
        return None
    from runner_service.registries import OciRegistry  # loads an HTTP client, which few need

    registry = OciRegistry(
        settings.agents.registry_url,
        username=settings.agents.registry_username,
        password=settings.agents.registry_password,
    )
    stack.push_async_callback(registry.close)
    return registry
