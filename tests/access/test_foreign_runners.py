"""A runner that knows the id and the fence of an attempt which another one holds: it gets nothing of it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from access_app import Served
from grpc import StatusCode, aio

from runner.v1 import dispatch_service_pb2 as pb
from runner.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from runner.v1.job_pb2 import Attempt
from runner.v1.log_pb2 import LogRecord, LogSeal
from runner.v1.outcome_pb2 import Outcome
from runner.v1.runner_service_pb2 import RegisterRunnerRequest
from runner.v1.runner_service_pb2_grpc import RunnerServiceStub
from runner_client.errors import from_rpc_error
from runner_client.streams import send, upload
from runner_service.domain.ids import new_id

RECORD = LogRecord(sequence=0, stream=LogRecord.STREAM_STDOUT, data=b"true words")
SEAL = LogSeal(records=1, stdout_bytes=10, sha256=hashlib.sha256(b"true words").digest())


@dataclass
class Machine:
    """A worker by hand."""

    stub: Any
    runner_id: str
    metadata: tuple[tuple[str, str], ...]

    @classmethod
    async def register(cls, channel: aio.Channel, name: str) -> Machine:
        request = RegisterRunnerRequest(name=name, slots=1)
        made: Any = await RunnerServiceStub(channel).RegisterRunner(request, metadata=bearer("admin-key"))  # type: ignore[misc]
        return cls(DispatchServiceStub(channel), made.runner.runner_id, bearer(made.credential))

    async def take(self) -> pb.Order:
        """Claims and confirms the job that waits."""
        session, held = new_id(), []
        for number in (1, 2):
            request = pb.SyncRequest(
                runner_id=self.runner_id, session_id=session, slots=1, sync_number=number, attempts=held
            )
            answer = await self.stub.Sync(request, metadata=self.metadata)
            [order] = answer.orders
            held = [pb.HeldAttempt(attempt_id=order.attempt_id, fence=order.fence, phase=pb.HeldAttempt.PHASE_HELD)]
        assert order.action == pb.Order.ACTION_RUN
        return order


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {credential}"),)


async def said_once(request: Any) -> AsyncIterator[Any]:
    yield request


async def answered(call: Any, request: Any) -> Any:
    await send(call, request)
    return await call.read()


CALLS: dict[str, Callable[[Machine, dict[str, Any]], Any]] = {
    "AppendLogsOnce": lambda me, of: me.stub.AppendLogsOnce(
        pb.AppendLogsOnceRequest(**of, records=[RECORD]), metadata=me.metadata
    ),
    "AppendLogs": lambda me, of: answered(
        me.stub.AppendLogs(metadata=me.metadata), pb.AppendLogsRequest(**of, records=[RECORD])
    ),
    "SealLogs": lambda me, of: me.stub.SealLogs(pb.SealLogsRequest(**of, seal=SEAL), metadata=me.metadata),
    "StreamInputs": lambda me, of: answered(me.stub.StreamInputs(metadata=me.metadata), pb.StreamInputsRequest(**of)),
    "FetchInput": lambda me, of: me.stub.FetchInput(
        pb.FetchInputRequest(**of, artifact_id=new_id()), metadata=me.metadata
    ).read(),
    "UploadOutput": lambda me, of: upload(
        me.stub.UploadOutput(metadata=me.metadata),
        said_once(pb.UploadOutputRequest(**of, name="out", data=b"x", end=True)),
    ),
}


async def test_what_one_runner_holds_no_other_touches(served: Served) -> None:
    async with served.client("operator-key") as client, aio.insecure_channel(served.grpc) as channel:
        owner = await Machine.register(channel, "owner")
        job_id = (await client.run(["true"])).job_id
        order = await owner.take()
        thief = await Machine.register(channel, "thief")
        for runner_id, code, reason in (
            (thief.runner_id, StatusCode.FAILED_PRECONDITION, "STALE_ATTEMPT"),
            (owner.runner_id, StatusCode.PERMISSION_DENIED, "ROLE_INSUFFICIENT"),
        ):
            of = {"runner_id": runner_id, "attempt_id": order.attempt_id, "fence": order.fence}
            for name, call in CALLS.items():
                with pytest.raises(aio.AioRpcError) as refused:
                    await call(thief, of)
                assert (name, refused.value.code(), from_rpc_error(refused.value).reason) == (name, code, reason)
        await no_report_of(thief, order)
        # Nothing of it has touched the log or the job: the owner's own are the first.
        of = {"runner_id": owner.runner_id, "attempt_id": order.attempt_id, "fence": order.fence}
        assert (await CALLS["AppendLogsOnce"](owner, of)).next_sequence == 1
        assert (await CALLS["SealLogs"](owner, of)).sealed
        [attempt] = await client.list_attempts(job_id)
        assert attempt.state == Attempt.STATE_RUNNING


async def no_report_of(thief: Machine, order: pb.Order) -> None:
    """A report is answered STALE, what is listed or held is to be forgotten."""
    ended = pb.AttemptReport(
        attempt_id=order.attempt_id, fence=order.fence, outcome=Outcome(kind=Outcome.KIND_EXITED), records=[RECORD]
    )
    ended.seal.CopyFrom(SEAL)
    held = pb.HeldAttempt(attempt_id=order.attempt_id, fence=order.fence, phase=pb.HeldAttempt.PHASE_HELD)
    session = new_id()
    sync = pb.SyncRequest(runner_id=thief.runner_id, session_id=session, sync_number=1, attempts=[held])
    answer = await thief.stub.Sync(sync, metadata=thief.metadata)
    assert [one.action for one in answer.orders] == [pb.Order.ACTION_FORGET]
    request = pb.ReportAttemptsRequest(
        runner_id=thief.runner_id, session_id=session, sync_number=1, reports=[ended], held=[held]
    )
    answer = await thief.stub.ReportAttempts(request, metadata=thief.metadata)
    assert [one.answer for one in answer.verdicts] == [pb.ReportVerdict.ANSWER_STALE]
    assert all(one.action == pb.Order.ACTION_FORGET for one in answer.orders)
