"""Testflinger's tokens and clients: translate, call a service, translate."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from google.api import httpbody_pb2

from runner.dialects.testflinger.v1 import access_service_pb2 as pb
from runner.dialects.testflinger.v1 import access_service_pb2_grpc, shared_pb2
from runner_service.dialects.testflinger import schemas, words
from runner_service.dialects.testflinger.callers import ADMIN, MANAGER, PEOPLE, Callers, LabCaller
from runner_service.dialects.testflinger.errors import BadRequest, Forbidden, Missing, Unidentified, Unprocessable
from runner_service.domain.credentials import Client
from runner_service.domain.errors import (
    ClientInvalid,
    ClientNotFound,
    RefreshTokenExpired,
    RefreshTokenRefused,
    RefreshTokenRevoked,
    RefreshTokenUnknown,
)
from runner_service.domain.lab_secrets import SecretPlace
from runner_service.rpc.forms.testflinger import current_credential
from runner_service.services.auth import Clients, CredentialKind, RefreshTokens
from runner_service.services.queues import RANKS, LabSecrets

SECRET_SECONDS = 7 * 86_400
"""How long a secret is kept that does not say: as long as everything else of a lab is by default."""
_UNKNOWN = Client(client_id="", secret_hash="")


class TestflingerAccessServicer(access_service_pb2_grpc.AccessServiceServicer):
    """Tokens, and what clients are allowed."""

    __test__ = False

    def __init__(
        self, *, clients: Clients, refresh_tokens: RefreshTokens, callers: Callers, secrets: LabSecrets, era: str
    ) -> None:
        self._clients = clients
        self._refresh_tokens = refresh_tokens
        self._callers = callers
        self._secrets = secrets
        self._era = era

    async def GetToken(self, request: pb.GetTokenRequest, context: Any) -> httpbody_pb2.HttpBody:
        client = await self._client()
        if self._is_older(request):
            access = self._clients.access(client)
            return httpbody_pb2.HttpBody(content_type=words.TEXT, data=access.token.encode())
        refresh_token = await self._refresh_tokens.issue(client.client_id)
        access = self._clients.access(client, refresh_token=refresh_token)
        answer = {
            "access_token": access.token,
            "token_type": "Bearer",
            "expires_in": access.expires_in,
            "refresh_token": refresh_token,
        }
        return httpbody_pb2.HttpBody(content_type=words.JSON, data=f"{json.dumps(answer)}\n".encode())

    async def _client(self) -> Client:
        credential = current_credential.get()
        if credential.kind in (CredentialKind.NONE, CredentialKind.BROKEN_BASIC):
            raise Unidentified("No authorization header specified")
        if credential.kind is not CredentialKind.BASIC:
            raise Unidentified("Client id and key must be specified in authorization header")
        try:
            return await self._clients.authenticate(credential.user, credential.password)
        except ClientInvalid:
            raise Unidentified("Invalid client id or client key") from None

    def _is_older(self, request: pb.GetTokenRequest) -> bool:
        if self._era != "both":
            return self._era == "seed"
        return request.method == "GET" or request.content_type.startswith(words.JSON)

    async def RefreshToken(self, request: pb.TokenJsonRequest, context: Any) -> pb.RefreshTokenResponse:
        _, posted = schemas.check_text(schemas.RefreshToken, request.json)
        try:
            access = await self._clients.refresh(posted["refresh_token"])
        except RefreshTokenRefused as error:
            raise BadRequest(_REFRESH[type(error)]) from None
        except ClientNotFound:
            raise BadRequest(_REFRESH[RefreshTokenUnknown]) from None
        return pb.RefreshTokenResponse(access_token=access.token, token_type="Bearer", expires_in=access.expires_in)

    async def RevokeToken(self, request: pb.TokenJsonRequest, context: Any) -> pb.RevokeTokenResponse:
        self._callers.of().demand(ADMIN)
        _, posted = schemas.check_text(schemas.RefreshToken, request.json)
        try:
            await self._refresh_tokens.revoke(posted["refresh_token"])
        except RefreshTokenUnknown:
            raise BadRequest("Refresh token not found") from None
        except RefreshTokenRevoked:
            raise BadRequest("Refresh token has already been revoked") from None
        return pb.RevokeTokenResponse(status=words.OK)

    async def ListClients(self, request: pb.ListClientsRequest, context: Any) -> pb.ListClientsResponse:
        self._callers.of().demand(MANAGER, ADMIN)
        return pb.ListClientsResponse(clients=[_shown(client) for client in await self._clients.list()])

    async def GetClient(self, request: pb.ClientRequest, context: Any) -> pb.Client:
        self._callers.of().demand(MANAGER, ADMIN)
        return _shown(await self._known(request.client_id))

    async def PutClient(self, request: pb.ClientJsonRequest, context: Any) -> shared_pb2.Text:
        caller = self._callers.of().demand(MANAGER, ADMIN)
        _, posted = schemas.check_text(schemas.ClientPermissions, request.json)
        secret = posted.pop("client_secret", None)
        try:
            before = await self._clients.get(request.client_id)
        except ClientNotFound:
            if secret is None:
                raise BadRequest("Error: Missing client_secret in request body for new client") from None
            before = replace(_UNKNOWN, client_id=request.client_id)
        verb = "Updated" if before.secret_hash else "Created"
        _may_change(caller, before, "modified")
        email = posted.pop("email", before.email) or ""
        after = replace(before, **posted, email=email)
        _may_change(caller, after, "modified")
        await self._clients.save(after, secret=secret)
        return shared_pb2.Text(text=f"{verb} permissions for client '{request.client_id}'")

    async def DeleteClient(self, request: pb.ClientRequest, context: Any) -> shared_pb2.Text:
        caller = self._callers.of().demand(ADMIN)
        _may_change(caller, await self._known(request.client_id), "deleted")
        await self._clients.delete(request.client_id)
        return shared_pb2.Text(text=words.OK)

    async def PutSecret(self, request: pb.SecretRequest, context: Any) -> shared_pb2.Json:
        place = self._own_secret(request)
        _, posted = schemas.check_text(schemas.NewSecret, request.json)
        expires_at = await self._secrets.put(
            place,
            posted["value"],
            seconds=posted.get("expire_after", SECRET_SECONDS),
            ephemeral=posted.get("ephemeral", False),
        )
        answer = {"expires_at": words.time(expires_at) or None}
        return shared_pb2.Json(json=json.dumps(answer).encode())

    async def DeleteSecret(self, request: pb.SecretRequest, context: Any) -> shared_pb2.Text:
        await self._secrets.delete(self._own_secret(request))
        return shared_pb2.Text(text=words.OK)

    def _own_secret(self, request: pb.SecretRequest) -> SecretPlace:
        """Where the caller's secret lies: nobody reaches those of others."""
        caller = self._callers.of().demand(*PEOPLE)
        if not request.client_id or caller.permissions.client_id != request.client_id:
            raise Forbidden(f"'{request.client_id}' doesn't match authenticated client id")
        schemas.check(schemas.SecretPath, {"path": request.path}, place="path")
        return SecretPlace(request.client_id, request.path)

    async def _known(self, client_id: str) -> Client:
        try:
            return await self._clients.get(client_id)
        except ClientNotFound:
            raise Missing(f"Error: Client '{client_id}' does not exist.") from None


_REFRESH: dict[type[RefreshTokenRefused], str] = {
    RefreshTokenUnknown: "Invalid refresh token.",
    RefreshTokenRevoked: "Refresh token revoked.",
    RefreshTokenExpired: "Refresh token expired",
}


def _may_change(caller: LabCaller, client: Client, verb: str) -> None:
    """Refuses to touch what stands in the settings, and who stands above the caller."""
    if client.built_in:
        raise Unprocessable(f"Error: System admin client cannot by {verb} from API.")
    if RANKS.get(client.role, 0) > RANKS.get(caller.permissions.role, 0):
        raise Forbidden("Insufficient permissions to modify the client")


def _shown(client: Client) -> pb.Client:
    return pb.Client(
        allowed_queues=client.allowed_queues,
        client_id=client.client_id,
        max_priority=client.max_priority,
        max_reservation_time=client.max_reservation_time,
        role=client.role,
    )
