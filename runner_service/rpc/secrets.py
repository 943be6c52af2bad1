"""SecretService."""

from __future__ import annotations

from typing import Any

from runner.v1 import secret_pb2, secret_service_pb2_grpc
from runner.v1 import secret_service_pb2 as pb
from runner_service.domain.secrets import Secret
from runner_service.rpc.access import current_principal
from runner_service.rpc.convert import times
from runner_service.rpc.repeats import current_mark
from runner_service.services.secrets import Secrets


class SecretServicer(secret_service_pb2_grpc.SecretServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def SetSecret(self, request: pb.SetSecretRequest, context: Any) -> pb.SetSecretResponse:
        by = current_principal.get().name
        secret = await self._secrets.set(request.name, request.value, by=by, mark=current_mark.get())
        return pb.SetSecretResponse(secret=_secret(secret))

    async def ListSecrets(self, request: pb.ListSecretsRequest, context: Any) -> pb.ListSecretsResponse:
        return pb.ListSecretsResponse(secrets=map(_secret, await self._secrets.list()))

    async def DeleteSecret(self, request: pb.DeleteSecretRequest, context: Any) -> pb.DeleteSecretResponse:
        await self._secrets.delete(request.name, mark=current_mark.get())
        return pb.DeleteSecretResponse()


def _secret(value: Secret) -> secret_pb2.Secret:
    return secret_pb2.Secret(
        name=value.name,
        create_time=times.timestamp(value.created_at),
        update_time=times.timestamp(value.updated_at),
        created_by=value.created_by,
    )
