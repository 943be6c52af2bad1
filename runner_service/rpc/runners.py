"""RunnerService."""

from __future__ import annotations

from typing import Any

from runner.v1 import runner_service_pb2 as pb
from runner.v1 import runner_service_pb2_grpc
from runner_service.rpc.convert import paging
from runner_service.rpc.convert import runners as convert
from runner_service.services.runners import Runners


class RunnerServicer(runner_service_pb2_grpc.RunnerServiceServicer):
    """Converts, calls one service function, converts."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    async def RegisterRunner(self, request: pb.RegisterRunnerRequest, context: Any) -> pb.RegisterRunnerResponse:
        runner, credential = await self._runners.register(
            name=request.name, labels=dict(request.labels), slots=request.slots, local=context.peer().startswith("unix")
        )
        return pb.RegisterRunnerResponse(runner=convert.runner(runner, online=False), credential=credential)

    async def GetRunner(self, request: pb.GetRunnerRequest, context: Any) -> pb.GetRunnerResponse:
        runner = await self._runners.get(request.runner_id)
        return pb.GetRunnerResponse(runner=convert.runner(runner, online=self._runners.online(runner)))

    async def ListRunners(self, request: pb.ListRunnersRequest, context: Any) -> pb.ListRunnersResponse:
        limit = paging.size(request.page_size, default=100, most=1000)
        # One more than asked tells whether there is a next page.
        runners = await self._runners.list(limit=limit + 1, after=request.page_token)
        page = runners[:limit]
        return pb.ListRunnersResponse(
            runners=[convert.runner(runner, online=self._runners.online(runner)) for runner in page],
            next_page_token=page[-1].runner_id if len(runners) > limit else "",
        )
