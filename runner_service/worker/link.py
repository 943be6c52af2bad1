"""The line to the server: one channel, the identity that every call shows, and how to come back after a cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeAlias

import grpc
import grpc.aio

from runner.v1 import dispatch_service_pb2 as dispatch
from runner.v1 import runner_service_pb2 as runners
from runner.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from runner.v1.runner_service_pb2_grpc import RunnerServiceStub
from runner_client.channel import Tls
from runner_client.streams import upload
from runner_service.worker.backoff import Backoff
from runner_service.worker.identity import Identity, is_local
from runner_service.worker.times import WorkerTimes

SyncCall: TypeAlias = "grpc.aio.UnaryUnaryCall[dispatch.SyncRequest, dispatch.SyncResponse]"
AppendCall: TypeAlias = "grpc.aio.StreamStreamCall[dispatch.AppendLogsRequest, dispatch.AppendLogsResponse]"

InputsCall: TypeAlias = "grpc.aio.StreamStreamCall[dispatch.StreamInputsRequest, dispatch.StreamInputsResponse]"


def channel_options(target: str) -> list[tuple[str, int]]:
    """gRPC's settings for a worker's channel."""
    local = is_local(target)
    options = [
        ("grpc.enable_http_proxy", 0),
        # A reply brings complete specs, of up to 1 MiB each, for every slot.
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.max_send_message_length", 64 << 20),
        # A server that starts again is met within this long, and not tried more often by thousands of workers.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 250 if local else 3_000),
        # In spite of its name also how long one try to connect may take.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        # 5,000 workers in one test process share no connections, and neither do two in one program.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if not local:
        # Half-open connections: a ping every 10 s while a call is under way, which a parked Sync always is.
        options += [
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    return options


class Link:
    """Calls to one server. Open while its context is."""

    def __init__(
        self,
        target: str,
        *,
        times: WorkerTimes,
        random: Callable[[], float],
        tls: Tls | None = None,
    ) -> None:
        """
        Raises:
            InvalidTarget: The certificates cannot be read.
        """
        self.target = target
        self.tls = tls
        self.session_id = ""
        self.sync_number = 0
        """Of the newest Sync that was sent."""
        self.reports_heard = 0
        """Of the newest report that is over: its answer was carried out, or there is none."""
        self.runner_id = ""
        self._times = times
        self._random = random
        self._credentials = None if tls is None else tls.credentials()
        self._metadata: tuple[tuple[str, str], ...] = ()

    async def __aenter__(self) -> Self:
        options = channel_options(self.target)
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(self.target, options)
        else:
            self._channel = grpc.aio.secure_channel(self.target, self._credentials, options)
        self._dispatch = DispatchServiceStub(self._channel)
        self._runners = RunnerServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    def use(self, identity: Identity) -> None:
        """Every later call shows this identity."""
        self.runner_id = identity.runner_id
        self._metadata = (("authorization", f"Bearer {identity.credential}"),)

    def backoff(self) -> Backoff:
        most = self._times.retry_most_local if is_local(self.target) else self._times.retry_most
        return Backoff(first=self._times.retry_first, most=most, random=self._random)

    @property
    def connected(self) -> bool:
        """There is a connection now, as far as this side knows. Calls may fail all the same."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def ready(self) -> None:
        """Returns once there is a connection."""
        await self._channel.channel_ready()

    async def register(self, request: runners.RegisterRunnerRequest, token: str) -> Identity:
        """Raises AioRpcError."""
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        reply = await self._runners.RegisterRunner(request, metadata=metadata, timeout=self._times.call_timeout)
        return Identity(runner_id=reply.runner.runner_id, credential=reply.credential, server=self.target)

    async def rejoin(self, identity: Identity, token: str) -> Identity:
        """The identity with another credential, in place of one that has expired. Raises AioRpcError."""
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        request = runners.RejoinRunnerRequest(runner_id=identity.runner_id, credential=identity.credential)
        reply = await self._runners.RejoinRunner(request, metadata=metadata, timeout=self._times.call_timeout)
        return replace(identity, credential=reply.credential)

    def sync(self, request: dispatch.SyncRequest, timeout: float) -> SyncCall:
        """To be awaited, which raises AioRpcError, or CancelledError once it was cancelled."""
        return self._dispatch.Sync(request, metadata=self._metadata, timeout=timeout)

    async def report(self, request: dispatch.ReportAttemptsRequest) -> dispatch.ReportAttemptsResponse:
        """Raises AioRpcError. Waits for a connection first, so it is there as soon as the server is."""
        return await self._dispatch.ReportAttempts(
            request, metadata=self._metadata, timeout=self._times.call_timeout, wait_for_ready=True
        )

    def append_logs(self) -> AppendCall:
        """Opens a log stream, as soon as there is a connection."""
        return self._dispatch.AppendLogs(metadata=self._metadata, wait_for_ready=True)

    def stream_inputs(self) -> InputsCall:
        """Opens an input stream, as soon as there is a connection."""
        return self._dispatch.StreamInputs(metadata=self._metadata, wait_for_ready=True)

    def fetch_input(
        self, request: dispatch.FetchInputRequest
    ) -> grpc.aio.UnaryStreamCall[dispatch.FetchInputRequest, dispatch.FetchInputResponse]:
        """Opens the stream of an input, as soon as there is a connection."""
        return self._dispatch.FetchInput(request, metadata=self._metadata, wait_for_ready=True)

    async def upload_output(
        self, requests: AsyncIterator[dispatch.UploadOutputRequest]
    ) -> dispatch.UploadOutputResponse:
        """Raises AioRpcError, or what making the requests raises."""
        call = self._dispatch.UploadOutput(metadata=self._metadata, wait_for_ready=True)
        return await upload(call, requests)


async def pause(seconds: float, until: asyncio.Event | None = None) -> None:
    """Waits, at most until the event is set."""
    if until is None:
        await asyncio.sleep(seconds)
        return
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        pass
