"""AuthService."""

from __future__ import annotations

from typing import Any

from runner.v1 import auth_service_pb2 as pb
from runner.v1 import auth_service_pb2_grpc
from runner_service.rpc.access import ANYBODY, current_caller, current_principal
from runner_service.rpc.convert import auth as convert
from runner_service.rpc.convert import paging
from runner_service.rpc.repeats import current_mark
from runner_service.services.audit import Audit
from runner_service.services.auth import ApiKeys


class AuthServicer(auth_service_pb2_grpc.AuthServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, keys: ApiKeys, audit: Audit) -> None:
        self._keys = keys
        self._audit = audit

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Any) -> pb.CreateApiKeyResponse:
        kept, key = await self._keys.create(
            name=request.name,
            role=convert.role(request.role),
            created_by=current_principal.get().name,
            life_seconds=convert.life_seconds(request),
            mark=current_mark.get(),
        )
        return pb.CreateApiKeyResponse(api_key=convert.api_key(kept), key=key)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Any) -> pb.ListApiKeysResponse:
        limit = paging.size(request.page_size, default=100, most=1000)
        # One more than asked tells whether there is a next page.
        keys = await self._keys.list(limit=limit + 1, after=convert.after(request.page_token))
        page = keys[:limit]
        return pb.ListApiKeysResponse(
            api_keys=map(convert.api_key, page), next_page_token=page[-1].key_id if len(keys) > limit else ""
        )

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Any) -> pb.RevokeApiKeyResponse:
        return pb.RevokeApiKeyResponse(api_key=convert.api_key(await self._keys.revoke(request.key_id)))

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        principal = current_principal.get()
        return pb.WhoAmIResponse(
            name=principal.name,
            role=convert.role_out(principal.role),
            anonymous=principal is ANYBODY,
            runner_id=principal.runner_id,
            peer=current_caller.get().peer,
        )

    async def ListAuditEntries(self, request: pb.ListAuditEntriesRequest, context: Any) -> pb.ListAuditEntriesResponse:
        limit = paging.size(request.page_size, default=100, most=1000)
        entries = await self._audit.list(
            limit=limit + 1, before=convert.before(request.page_token), principal=request.principal
        )
        page = entries[:limit]
        return pb.ListAuditEntriesResponse(
            entries=map(convert.audit_entry, page),
            next_page_token=str(page[-1].sequence) if len(entries) > limit else "",
        )
