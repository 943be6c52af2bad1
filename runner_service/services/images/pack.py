"""Archives of images: what people push, taken apart with care, and put together again so that equal files have equal
digests."""

from __future__ import annotations

import gzip
import io
import posixpath
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.images import MAX_FILES_BYTES, ImageManifest, digest_of, read_manifest

MANIFEST_NAME = "agent.json"
"""Where the manifest stands in an archive."""
LOOSE_NAME = "content"
"""What a pushed file is called that is neither an archive nor a manifest."""
MAX_FILES = 10_000
BLOCK_BYTES = 10_240
"""Of a tar archive: its size is a multiple, so that a runner can read it from a pipe in whole blocks."""

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file of an image."""

    data: bytes
    executable: bool = False


def open_package(data: bytes) -> tuple[ImageManifest, bytes]:
    """Reads what was pushed: an archive (tar, or tar with gzip) with ``agent.json`` and files, a manifest alone, or any
    other file. Returns the manifest, which names its files, and their archive; empty: there are none.

    Raises:
        InvalidArgument: The archive holds what an image may not hold, or its manifest is none.
    """
    if data.startswith(_GZIP):
        data = _inflate(data)
    if not _is_tar(data):
        if data.lstrip()[:1] == b"{":
            return replace(read_manifest(data), files="", files_bytes=0), b""
        return with_files(ImageManifest(), {LOOSE_NAME: PackedFile(data)})
    files = _read_tar(data)
    found = files.pop(MANIFEST_NAME, None)
    return with_files(read_manifest(found.data) if found is not None else ImageManifest(), files)


def with_files(manifest: ImageManifest, files: Mapping[str, PackedFile]) -> tuple[ImageManifest, bytes]:
    """The manifest with its files, and their archive."""
    if not files:
        return replace(manifest, files="", files_bytes=0), b""
    archive = _write_tar(files)
    return replace(manifest, files=digest_of(archive), files_bytes=len(archive)), archive


def _inflate(data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            inflated = stream.read(2 * MAX_FILES_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise InvalidArgument(field="file", problem="its gzip is damaged") from None
    if len(inflated) > 2 * MAX_FILES_BYTES:
        raise _too_large()
    return inflated


def _is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def _read_tar(data: bytes) -> dict[str, PackedFile]:
    files: dict[str, PackedFile] = {}
    size = 0
    if len(data) % tarfile.BLOCKSIZE or any(data[-tarfile.BLOCKSIZE :]):
        # What was cut off would pass for the end.
        raise _damaged_tar()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                name = _safe(member)
                size += member.size
                if size > MAX_FILES_BYTES or len(files) >= MAX_FILES:
                    raise _too_large()
                stream = archive.extractfile(member)
                assert stream is not None
                files[name] = PackedFile(stream.read(), executable=bool(member.mode & 0o111))
    except (tarfile.TarError, OSError, EOFError):
        raise _damaged_tar() from None
    return files


def _safe(member: tarfile.TarInfo) -> str:
    """The name of a plain file that stays below the directory it is unpacked in."""
    name = posixpath.normpath(member.name)
    if not member.isfile():
        raise InvalidArgument(field="file", problem=f"{member.name!r} is neither a file nor a directory")
    if name.startswith(("/", "../")) or name in (".", "..") or "\0" in name:
        raise InvalidArgument(field="file", problem=f"{member.name!r} leads out of the image")
    return name


def _write_tar(files: Mapping[str, PackedFile]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name].data)
            member.mode = 0o755 if files[name].executable else 0o644
            try:
                archive.addfile(member, io.BytesIO(files[name].data))
            except ValueError:
                raise InvalidArgument(field="file", problem=f"the name {name!r} is too long") from None
    return packed.getvalue()


def _damaged_tar() -> InvalidArgument:
    return InvalidArgument(field="file", problem="its tar archive is damaged")


def _too_large() -> InvalidArgument:
    return InvalidArgument(
        field="file", problem=f"an image holds at most {MAX_FILES} files and {MAX_FILES_BYTES >> 20} MiB"
    )
