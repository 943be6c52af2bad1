"""The part of `dispatch_server` that registers workers and knows them by their credentials."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import NoReturn

import grpc.aio
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from runner.v1 import runner_pb2, runner_service_pb2
from runner.v1.runner_service_pb2_grpc import RunnerServiceServicer
from runner_service.domain.ids import new_id

Context = grpc.aio.ServicerContext


async def fail(context: Context, code: int, reason: str, message: str = "as ordered by the test") -> NoReturn:
    status = status_pb2.Status(code=code, message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="runner"))
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError


class Registry(RunnerServiceServicer):
    """Tests look at it and change it directly, then `wake`."""

    def __init__(self) -> None:
        self.token = ""
        self.registrations: list[runner_service_pb2.RegisterRunnerRequest] = []
        self.credentials: dict[str, str] = {}
        self.next_credentials: dict[str, str] = {}
        """By runner: what each Sync brings until it is shown itself."""
        self.expired: set[str] = set()
        """Credentials that only RejoinRunner takes."""
        self.rejoins: list[runner_service_pb2.RejoinRunnerRequest] = []
        self.shown: list[str] = []
        """Credentials, in order of the calls."""
        self.faults: dict[str, list[tuple[int, str]]] = defaultdict(list)
        """By method: failures after the call was processed, as (code, reason); consumed one by one."""
        self.changed = asyncio.Event()

    def wake(self) -> None:
        event, self.changed = self.changed, asyncio.Event()
        event.set()

    async def RegisterRunner(
        self, request: runner_service_pb2.RegisterRunnerRequest, context: Context
    ) -> runner_service_pb2.RegisterRunnerResponse:
        if self.token and dict(context.invocation_metadata() or ()).get("authorization") != f"Bearer {self.token}":
            await fail(context, code_pb2.UNAUTHENTICATED, "CREDENTIALS_INVALID")
        self.registrations.append(request)
        await self._fault(context, "RegisterRunner")
        runner_id = new_id()
        self.credentials[runner_id] = f"credential-{runner_id}"
        return runner_service_pb2.RegisterRunnerResponse(
            runner=runner_pb2.Runner(runner_id=runner_id), credential=self.credentials[runner_id]
        )

    async def RejoinRunner(
        self, request: runner_service_pb2.RejoinRunnerRequest, context: Context
    ) -> runner_service_pb2.RejoinRunnerResponse:
        self.rejoins.append(request)
        self.wake()
        if self.token and dict(context.invocation_metadata() or ()).get("authorization") != f"Bearer {self.token}":
            await fail(context, code_pb2.UNAUTHENTICATED, "CREDENTIALS_INVALID")
        if request.credential != self.credentials.get(request.runner_id):
            await fail(context, code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT")
        again = self.next_credentials.setdefault(request.runner_id, f"again-{request.runner_id}")
        await self._fault(context, "RejoinRunner")
        return runner_service_pb2.RejoinRunnerResponse(credential=again)

    async def _authenticate(self, context: Context, runner_id: str) -> None:
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        self.shown.append(given.removeprefix("Bearer "))
        if self.shown[-1] in self.expired:
            await fail(context, code_pb2.UNAUTHENTICATED, "CREDENTIAL_EXPIRED")
        if runner_id and self.shown[-1] == self.next_credentials.get(runner_id):
            self.expired.add(self.credentials[runner_id])
            self.credentials[runner_id] = self.next_credentials.pop(runner_id)
        known = {f"Bearer {credential}" for credential in self.credentials.values()}
        if given not in known:
            await fail(context, code_pb2.UNAUTHENTICATED, "CREDENTIALS_INVALID")
        if runner_id and given != f"Bearer {self.credentials.get(runner_id)}":
            await fail(context, code_pb2.NOT_FOUND, "RUNNER_NOT_FOUND")

    async def _fault(self, context: Context, method: str) -> None:
        if self.faults[method]:
            await fail(context, *self.faults[method].pop(0))
