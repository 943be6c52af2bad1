"""Use cases of images, and the archives that they come in."""

from runner_service.services.images.pack import PackedFile, open_package
from runner_service.services.images.service import Images

__all__ = ["Images", "PackedFile", "open_package"]
