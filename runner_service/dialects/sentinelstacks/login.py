"""The façade servicers of SentinelStacks' login and health page."""

from __future__ import annotations

from typing import Any

from runner.dialects.sentinelstacks.v1 import auth_service_pb2 as pb
from runner.dialects.sentinelstacks.v1 import auth_service_pb2_grpc, health_service_pb2, health_service_pb2_grpc
from runner_service.domain.errors import InvalidArgument
from runner_service.rpc.access import current_caller
from runner_service.rpc.convert import times
from runner_service.services.auth import Logins


class SentinelAuthServicer(auth_service_pb2_grpc.AuthServiceServicer):
    """SentinelStacks' login."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    async def Login(self, request: pb.LoginRequest, context: Any) -> pb.LoginResponse:
        if not (request.username and request.password):
            raise InvalidArgument("Username and password are required", field="username", problem="give both")
        # Who is let in without a credential may have any name.
        trusted = not current_caller.get().closed
        login = await self._logins.login(request.username, request.password, trusted=trusted)
        return pb.LoginResponse(
            token=login.token, username=login.username, expires=times.timestamp(login.expires_at * 1_000_000)
        )


class SentinelHealthServicer(health_service_pb2_grpc.HealthServiceServicer):
    """SentinelStacks' health page."""

    async def GetHealth(
        self, request: health_service_pb2.GetHealthRequest, context: Any
    ) -> health_service_pb2.GetHealthResponse:
        return health_service_pb2.GetHealthResponse(status="ok")
