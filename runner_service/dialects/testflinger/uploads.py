"""Archives that come in pieces, and go out in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.api import httpbody_pb2

from runner.dialects.testflinger.v1 import shared_pb2
from runner_service.dialects.testflinger.errors import Nothing
from runner_service.domain.errors import UploadCut


class Archive:
    """An upload: its first message says for which job, all bring bytes."""

    def __init__(self, pieces: AsyncIterator[shared_pb2.UploadPiece]) -> None:
        self._pieces = pieces
        self.job_id = self.caller = self.media_type = ""
        self._first = b""
        self._ended = False

    async def begin(self) -> None:
        """Waits for the first piece."""
        async for piece in self._pieces:
            self.job_id, self.caller = piece.job_id, piece.caller
            self.media_type, self._first = piece.content.content_type, piece.content.data
            self._ended = piece.end
            return

    async def content(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces. Raises `UploadCut` when they end before the upload does."""
        yield self._first
        async for piece in self._pieces:
            yield piece.content.data
            self._ended = piece.end
        if not self._ended:
            raise UploadCut()


async def send(
    content: AsyncIterator[bytes] | None, context: Any, *, media_type: str, name: str
) -> AsyncIterator[httpbody_pb2.HttpBody]:
    """An archive in pieces; never compressed on the way, for its readers copy the bytes. Raises `Nothing`."""
    if content is None:
        raise Nothing()
    await context.send_initial_metadata((("x-http-header-content-disposition", f'attachment; filename="{name}"'),))
    yield httpbody_pb2.HttpBody(content_type=media_type)
    async for piece in content:
        yield httpbody_pb2.HttpBody(content_type=media_type, data=piece)
