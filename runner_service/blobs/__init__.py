"""Large immutable objects: sealed logs, artifacts, images. Files below a directory, or objects of an S3 bucket."""

from runner_service.blobs.directory import DirectoryBlobs
from runner_service.blobs.opening import open_blobs
from runner_service.blobs.s3 import Bucket, BucketUnusable, S3Blobs

__all__ = ["Bucket", "BucketUnusable", "DirectoryBlobs", "S3Blobs", "open_blobs"]
