"""The paths that several documented APIs share."""

from __future__ import annotations

from typing import Any

from runner.dialects.common.v1 import health_service_pb2 as pb
from runner.dialects.common.v1 import health_service_pb2_grpc
from runner_service.rpc.convert import times
from runner_service.services.health import Health


class HealthServicer(health_service_pb2_grpc.HealthServiceServicer):
    """The union of SCT agent's and KubeAgents' health pages (collisions.md, C1)."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def GetHealth(self, request: pb.GetHealthRequest, context: Any) -> pb.GetHealthResponse:
        report = await self._health.report()
        return pb.GetHealthResponse(
            status="healthy",
            timestamp=times.timestamp(report.now // 1_000_000 * 1_000_000),
            version=self._health.version,
            uptime_seconds=report.uptime_seconds,
            running_jobs=report.running_jobs,
            completed_jobs=report.succeeded_jobs,
            system=pb.GetHealthResponse.System(memory_usage_mb=report.memory_bytes >> 20),
        )
