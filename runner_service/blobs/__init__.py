"""Large immutable objects: sealed logs, artifacts, images. `DirectoryBlobs` keeps them as files."""

from runner_service.blobs.directory import DirectoryBlobs

__all__ = ["DirectoryBlobs"]
