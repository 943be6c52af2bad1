"""Managed agents and where their images come from."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from runner_service.config.base import Section


class Agents(Section):
    """Managed agents and their images."""

    shipped_images: bool = True
    """Have the images that come with the service: `echo` and `openai-compatible`."""
    images: dict[str, Path] = Field(default_factory=dict)
    """Images made at start: name, with a tag or not, to a directory with `agent.json` and files."""
    silence_seconds: float = Field(default=120.0, gt=0)
    """An agent that says nothing for so long does not answer a message any more."""
    registry_url: str = ""
    """An OCI registry that images are pushed to and pulled from, beside the service's own. Empty: none."""
    registry_username: str = ""
    registry_password: str = ""
