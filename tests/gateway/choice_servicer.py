"""The servicer of choices.proto: it echoes, and fails as the path says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import choices_pb2
import choices_pb2_grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


class Choices(choices_pb2_grpc.ChoiceServiceServicer):
    """Echoes."""

    async def Look(self, request: Any, context: Any) -> Any:
        return request

    async def Say(self, request: Any, context: Any) -> Any:
        return request

    async def Repeat(self, request: Any, context: Any) -> Any:
        return request.said

    async def List(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield choices_pb2.Said(text="one")
        yield choices_pb2.Said(text="two")

    async def PickNew(self, request: Any, context: Any) -> Any:
        return choices_pb2.Said(text="new")

    async def PickOld(self, request: Any, context: Any) -> Any:
        return choices_pb2.Said(text="old")

    async def Reply(self, request: Any, context: Any) -> Any:
        return choices_pb2.Nothing()

    async def Fail(self, request: Any, context: Any) -> Any:
        metadata = {"word": "STATE_ON"} if request.text == "OLD" else {}
        info = error_details_pb2.ErrorInfo(reason=request.text, domain="test", metadata=metadata)
        status = status_pb2.Status(code=code_pb2.ABORTED, message="failed")
        status.details.add().Pack(info)
        await context.abort_with_status(rpc_status.to_status(status))
