"""Keys and the audit, as typed calls: :attr:`runner_client.AsyncClient.auth`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from grpc import aio

from runner.v1.auth_service_pb2_grpc import AuthServiceStub
from runner_client.calls import Caller

if TYPE_CHECKING:
    from runner.v1.api_key_pb2 import ApiKey, AuditEntry
    from runner.v1.auth_service_pb2 import CreateApiKeyResponse, WhoAmIResponse

PAGE_SIZE = 500


class AuthCalls:
    """Who may call a server. Made by the client."""

    def __init__(self, channel: aio.Channel, caller: Caller) -> None:
        self._stub = AuthServiceStub(channel)
        self._caller = caller

    async def create_key(
        self, name: str, role: ApiKey.Role.ValueType, *, lifetime: float | None = None
    ) -> CreateApiKeyResponse:
        """Makes a key. Its ``key`` is shown this once. ``lifetime``: seconds; default: for ever."""
        from runner.v1.auth_service_pb2 import CreateApiKeyRequest

        request = CreateApiKeyRequest(name=name, role=role)
        if lifetime is not None:
            request.lifetime.CopyFrom(Duration(seconds=int(lifetime), nanos=int(lifetime % 1 * 1e9)))
        return await self._caller.unary(self._stub.CreateApiKey, request)

    async def list_keys(self) -> list[ApiKey]:
        """Returns the keys that the service made, oldest first."""
        from runner.v1.auth_service_pb2 import ListApiKeysRequest

        request, keys = ListApiKeysRequest(page_size=PAGE_SIZE), list["ApiKey"]()
        while True:
            page = await self._caller.unary(self._stub.ListApiKeys, request)
            keys += page.api_keys
            if not page.next_page_token:
                return keys
            request.page_token = page.next_page_token

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Makes a key good for nothing."""
        from runner.v1.auth_service_pb2 import RevokeApiKeyRequest

        return (await self._caller.unary(self._stub.RevokeApiKey, RevokeApiKeyRequest(key_id=key_id))).api_key

    async def who_am_i(self) -> WhoAmIResponse:
        """Returns who the caller is to the server."""
        from runner.v1.auth_service_pb2 import WhoAmIRequest

        return await self._caller.unary(self._stub.WhoAmI, WhoAmIRequest())

    async def audit(self, *, principal: str = "", limit: int = 100) -> AsyncIterator[AuditEntry]:
        """Yields what was changed, newest first. ``principal``: only by this credential."""
        from runner.v1.auth_service_pb2 import ListAuditEntriesRequest

        left, request = limit, ListAuditEntriesRequest(principal=principal)
        while left > 0:
            request.page_size = min(left, PAGE_SIZE)
            page = await self._caller.unary(self._stub.ListAuditEntries, request)
            for entry in page.entries:
                yield entry
            left -= len(page.entries)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
