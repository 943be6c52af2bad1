"""Secrets, as typed calls: :attr:`runner_client.AsyncClient.secrets`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc import aio

from runner.v1.secret_service_pb2 import DeleteSecretRequest, ListSecretsRequest, SetSecretRequest
from runner.v1.secret_service_pb2_grpc import SecretServiceStub
from runner_client.calls import Caller

if TYPE_CHECKING:
    from runner.v1.secret_pb2 import Secret


class SecretCalls:
    """Secrets of a server, which jobs get by name. Made by the client."""

    def __init__(self, channel: aio.Channel, caller: Caller) -> None:
        self._stub = SecretServiceStub(channel)
        self._caller = caller

    async def set(self, name: str, value: bytes) -> Secret:
        """Sets one, in place of the value before."""
        return (await self._caller.unary(self._stub.SetSecret, SetSecretRequest(name=name, value=value))).secret

    async def list(self) -> list[Secret]:
        """Returns all in order of name, without their values."""
        return [*(await self._caller.unary(self._stub.ListSecrets, ListSecretsRequest())).secrets]

    async def delete(self, name: str) -> None:
        """Deletes one. Raises ``NotFound``."""
        await self._caller.unary(self._stub.DeleteSecret, DeleteSecretRequest(name=name))
