"""What every executor must do: `base.Executor`'s docstrings as tests, run on each by a `Rig`.

An executor joins by a subclass of `Rig` and one line in ``test_executor_contract.py``.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest

from runner_service.domain import inputs
from runner_service.domain.jobs import JobSpec, Stdin, Step
from runner_service.domain.logs import LogRecord, LogStream
from runner_service.domain.outcomes import OutcomeKind, RefusedReason
from runner_service.worker.executors.base import (
    AttemptUnknown,
    Ended,
    Event,
    ExecutionState,
    Executor,
    ExecutorUnavailable,
    FenceMismatch,
    InputWritten,
    KillCause,
    OutputGrew,
    Started,
)
from runner_service.worker.executors.environment import job_environment

PATIENCE = 60.0


class Rig(ABC):
    """One kind of executor, and how to make it do things."""

    @abstractmethod
    def executor(self) -> Executor:
        """Another worker's executor over the same attempts."""

    @abstractmethod
    def says(self, stdout: str, stderr: str, code: int) -> Step: ...

    @abstractmethod
    def holds(self, stdout: str) -> Step:
        """Writes, then stays until it is killed."""

    @abstractmethod
    def copies(self) -> Step:
        """Writes its input to stdout until that ends."""

    @abstractmethod
    def writes(self, size: int) -> Step:
        """So many bytes to stdout."""

    @abstractmethod
    def pass_deadline(self) -> float:
        """A deadline that passes very soon, or that has passed when `deadline_set` was called."""

    def more(self) -> Mapping[str, object]:
        """Further fields of every job."""
        return {}

    def worker(self) -> Worker:
        return Worker(self.executor(), self.more())

    def deadline_set(self) -> None:  # noqa: B027  Nothing to do where time passes by itself.
        """After the deadline was given to the executor."""


class Worker:
    """Reads an executor's events, and keeps them."""

    def __init__(self, executor: Executor, more: Mapping[str, object]) -> None:
        self.executor = executor
        self._more = more
        """Further fields of every job."""
        self.seen: list[Event] = []
        self._events: AsyncIterator[Event] = executor.events()

    async def start(self, attempt_id: str, *steps: Step, fence: int = 1, grace: float = 0.2, **spec: object) -> None:
        environment = job_environment({}, job_id="job", attempt_id=attempt_id)
        job = JobSpec(steps=steps, kill_grace_seconds=grace, **self._more, **spec)  # type: ignore[arg-type]
        await self.executor.start(attempt_id, fence, job, environment)

    async def until(self, attempt_id: str, kind: type[Event]) -> Event:
        async with asyncio.timeout(PATIENCE):
            async for event in self._events:
                self.seen.append(event)
                if event.attempt_id == attempt_id and isinstance(event, kind):
                    return event
        raise AssertionError("the events ended")

    async def until_wrote(self, attempt_id: str, stdout: bytes) -> None:
        while text(await self.log(attempt_id), LogStream.STDOUT) != stdout:
            await self.until(attempt_id, OutputGrew)

    async def end(self, attempt_id: str) -> Ended:
        event = await self.until(attempt_id, Ended)
        assert isinstance(event, Ended)
        return event

    async def log(self, attempt_id: str, offset: int = 0, limit: int = 1 << 18) -> list[LogRecord]:
        records: list[LogRecord] = []
        while True:
            more, offset = await self.executor.read_log(attempt_id, offset, limit)
            if not more:
                return records
            records += more


def text(records: list[LogRecord], stream: LogStream) -> bytes:
    return b"".join(record.data for record in records if record.stream is stream)


class ExecutorContract:
    """Subclass it as ``TestContract`` with a ``rig`` fixture."""

    @pytest.fixture
    async def worker(self, rig: Rig) -> AsyncIterator[Worker]:
        worker = rig.worker()
        await worker.executor.adopt()
        yield worker
        await worker.executor.close(stop=True)

    async def test_an_attempt_starts_writes_and_ends(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.says("out", "err", 7))
        end = await worker.end("a")
        assert [type(event) for event in worker.seen if not isinstance(event, OutputGrew)] == [Started, Ended]
        assert (end.outcome.kind, end.outcome.exit_code, end.outcome.survivors) == (OutcomeKind.EXITED, 7, 0)
        records = await worker.log("a")
        assert (text(records, LogStream.STDOUT), text(records, LogStream.STDERR)) == (b"out", b"err")
        assert [record.sequence for record in records] == list(range(end.seal.records))
        assert (end.seal.stdout_bytes, end.seal.stderr_bytes) == (3, 3)
        assert end.seal.sha256 == hashlib.sha256(b"".join(record.data for record in records)).digest()

    async def test_output_is_told_before_the_end(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.holds("hello"))
        grown = await worker.until("a", OutputGrew)
        assert isinstance(grown, OutputGrew)
        records, offset = await worker.executor.read_log("a", 0, 1 << 16)
        assert (text(records, LogStream.STDOUT), offset) == (b"hello", grown.log_bytes)

    async def test_a_log_can_be_read_in_pieces_from_any_offset(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.writes(1_000_000))
        end = await worker.end("a")
        offset, sizes = 0, []
        while True:
            records, behind = await worker.executor.read_log("a", offset, 1)
            if not records:
                break
            assert len(records) == 1
            sizes.append(len(records[0].data))
            offset = behind
        assert (sum(sizes), offset) == (1_000_000, end.log_bytes)
        assert end.log_bytes == end.seal.stdout_bytes + 24 * end.seal.records

    async def test_the_first_failing_step_ends_the_job(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.says("1", "", 0), rig.says("2", "", 3), rig.says("3", "", 0))
        end = await worker.end("a")
        assert (end.outcome.exit_code, end.outcome.step) == (3, 1)
        assert text(await worker.log("a"), LogStream.STDOUT) == b"12"

    async def test_a_step_that_always_runs_does_so_behind_one_that_failed(self, rig: Rig, worker: Worker) -> None:
        cleanup = replace(rig.says("4", "", 0), always=True)
        await worker.start("a", rig.says("1", "", 0), rig.says("2", "", 3), rig.says("3", "", 0), cleanup)
        end = await worker.end("a")
        assert (end.outcome.exit_code, end.outcome.step) == (3, 1)
        assert text(await worker.log("a"), LogStream.STDOUT) == b"124"
        await worker.start("b", rig.says("1", "", 0), cleanup)
        end = await worker.end("b")
        assert (end.outcome.exit_code, end.outcome.step) == (0, 1)
        assert text(await worker.log("b"), LogStream.STDOUT) == b"14"
        await worker.start("c", rig.says("1", "", 2), cleanup, replace(rig.says("5", "", 9), always=True))
        end = await worker.end("c")
        assert (end.outcome.exit_code, end.outcome.step) == (2, 0)
        assert text(await worker.log("c"), LogStream.STDOUT) == b"145"

    async def test_a_step_that_always_runs_does_so_behind_one_that_is_ended(self, rig: Rig, worker: Worker) -> None:
        cleanup = (replace(rig.says("4", "", 7), always=True), replace(rig.says("5", "", 0), always=True))
        await worker.start("a", rig.says("1", "", 0), rig.holds("2"), rig.says("3", "", 0), *cleanup, grace=PATIENCE)
        await worker.until_wrote("a", b"12")
        await worker.executor.kill("a", KillCause.CANCEL, "admin")
        end = await worker.end("a")
        assert (end.outcome.kind, end.outcome.detail, end.outcome.step) == (OutcomeKind.CANCELLED, "admin", 1)
        assert end.outcome.step_codes == (0, 143, -1, 7, 0)
        assert text(await worker.log("a"), LogStream.STDOUT) == b"1245"

    async def test_where_the_server_is_lost_nothing_runs_behind_what_is_ended(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.holds("1"), replace(rig.says("2", "", 0), always=True))
        await worker.until_wrote("a", b"1")
        await worker.executor.kill("a", KillCause.SELF_STOP)
        end = await worker.end("a")
        assert (end.outcome.kind, end.outcome.step) == (OutcomeKind.LOST, 0)
        assert text(await worker.log("a"), LogStream.STDOUT) == b"1"

    async def test_a_missing_command_is_refused_and_ends_without_having_started(self, worker: Worker) -> None:
        await worker.start("a", Step(argv=("no-such-command", "x")))
        end = await worker.end("a")
        assert (end.outcome.kind, end.outcome.detail) == (OutcomeKind.REFUSED, RefusedReason.COMMAND_NOT_FOUND)
        assert end.outcome.message == 'exec: "no-such-command": executable file not found in $PATH'
        assert [type(event) for event in worker.seen] == [Ended]
        assert await worker.log("a") == []

    @pytest.mark.parametrize(
        ("cause", "detail", "kind", "told"),
        [
            (KillCause.CANCEL, "", OutcomeKind.CANCELLED, "user"),
            (KillCause.CANCEL, "admin", OutcomeKind.CANCELLED, "admin"),
            (KillCause.SHUTDOWN, "", OutcomeKind.CANCELLED, "shutdown"),
            (KillCause.STALE, "", OutcomeKind.LOST, "stale"),
            (KillCause.SELF_STOP, "", OutcomeKind.LOST, "self_stop"),
        ],
    )
    async def test_a_kill_ends_with_its_cause(
        self, rig: Rig, worker: Worker, cause: KillCause, detail: str, kind: OutcomeKind, told: str
    ) -> None:
        await worker.start("a", rig.holds("x"))
        await worker.until("a", OutputGrew)
        await worker.executor.kill("a", cause, detail)
        await worker.executor.kill("a", KillCause.CANCEL, "again")
        end = await worker.end("a")
        assert (end.outcome.kind, end.outcome.detail) == (kind, told)
        assert text(await worker.log("a"), LogStream.STDOUT) == b"x"

    async def test_a_hurry_ends_what_is_being_ended_and_nothing_else(self, rig: Rig, worker: Worker) -> None:
        for attempt_id in ("a", "b"):
            await worker.start(attempt_id, rig.holds("x"))
            await worker.until(attempt_id, OutputGrew)
        await worker.executor.kill("a", KillCause.SHUTDOWN)
        await worker.executor.hurry()
        await worker.executor.hurry()
        assert (await worker.end("a")).outcome.kind is OutcomeKind.CANCELLED
        known = {attempt.attempt_id: attempt.state for attempt in await worker.executor.adopt()}
        assert known["b"] is ExecutionState.RUNNING

    async def test_starting_twice_runs_once(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.says("once", "", 0))
        await worker.start("a", rig.says("once", "", 0))
        await worker.end("a")
        await worker.start("a", rig.says("once", "", 0))
        assert text(await worker.log("a"), LogStream.STDOUT) == b"once"
        await worker.start("b", rig.says("", "", 0))
        await worker.end("b")
        assert sum(isinstance(event, Started) and event.attempt_id == "a" for event in worker.seen) == 1

    async def test_another_fence_is_refused(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.holds("x"), fence=1)
        with pytest.raises(FenceMismatch):
            await worker.start("a", rig.holds("x"), fence=2)

    async def test_every_call_may_be_repeated_and_come_at_any_time(self, rig: Rig, worker: Worker) -> None:
        executor = worker.executor
        await executor.kill("unknown", KillCause.CANCEL)
        await executor.forget("unknown")
        await executor.acknowledge("unknown", 5)
        await executor.set_deadline(1e12, "unknown")
        await worker.start("a", rig.holds("x"))
        await executor.forget("a")
        await worker.until("a", OutputGrew)
        assert [(known.attempt_id, known.state) for known in await executor.adopt()] == [("a", ExecutionState.RUNNING)]
        await executor.kill("a", KillCause.CANCEL)
        await worker.end("a")
        await executor.kill("a", KillCause.CANCEL)
        await executor.forget("a")
        await executor.forget("a")
        assert await executor.adopt() == []
        with pytest.raises(AttemptUnknown):
            await executor.read_log("a", 0, 100)

    async def test_another_worker_adopts_what_runs_and_what_has_ended(self, rig: Rig, worker: Worker) -> None:
        await worker.start("live", rig.holds("before"), fence=5)
        await worker.until("live", OutputGrew)
        await worker.start("done", rig.says("bye", "", 4), fence=6)
        await worker.end("done")
        await worker.executor.close()
        heir = rig.worker()
        known = {one.attempt_id: one for one in await heir.executor.adopt()}
        assert heir.executor.spool_id == worker.executor.spool_id
        live, done = known["live"], known["done"]
        assert (live.state, live.fence, live.outcome, live.seal) == (ExecutionState.RUNNING, 5, None, None)
        assert (done.state, done.fence) == (ExecutionState.ENDED, 6)
        assert done.outcome is not None and done.outcome.exit_code == 4
        assert done.seal is not None and done.seal.stdout_bytes == 3
        assert text(await heir.log("live"), LogStream.STDOUT) == b"before"
        await heir.executor.kill("live", KillCause.CANCEL)
        assert (await heir.end("live")).outcome.kind is OutcomeKind.CANCELLED
        assert not any(event.attempt_id == "done" for event in heir.seen)
        await heir.executor.close(stop=True)

    async def test_what_was_acknowledged_may_be_gone_and_the_rest_is_adopted_from_there(
        self, rig: Rig, worker: Worker
    ) -> None:
        await worker.start("a", rig.writes(5_000_000), rig.holds("end"))
        records: list[LogRecord] = []
        offset, offsets = 0, {0: 0}
        while not records or records[-1].data[-3:] != b"end":
            await worker.until("a", OutputGrew)
            while True:
                more, offset = await worker.executor.read_log("a", offset, 1)
                if not more:
                    break
                records += more
                offsets[offset] = len(records)
        taken = sorted(offsets)[len(offsets) * 3 // 4]
        await worker.executor.acknowledge("a", taken)
        await worker.executor.acknowledge("a", taken // 2)
        (known,) = await worker.executor.adopt()
        assert 0 < known.log_base <= taken
        assert (known.log_base_sequence, known.log_bytes) == (offsets[known.log_base], offset)
        assert await worker.log("a", known.log_base) == records[known.log_base_sequence :]
        assert await worker.log("a", taken) == records[offsets[taken] :]
        await worker.executor.close()
        heir = rig.worker()
        assert await heir.executor.adopt() == [known]
        assert await heir.log("a", known.log_base) == records[known.log_base_sequence :]
        await heir.executor.kill("a", KillCause.CANCEL)
        end = await heir.end("a")
        await heir.executor.acknowledge("a", offset)
        assert (end.seal.records, end.seal.stdout_bytes) == (len(records), 5_000_003)
        assert end.seal.sha256 == hashlib.sha256(b"".join(record.data for record in records)).digest()
        (ended,) = await heir.executor.adopt()
        assert (ended.log_base, ended.log_base_sequence) == (known.log_base, known.log_base_sequence)
        await heir.executor.close(stop=True)

    async def test_input_arrives_once_whoever_brings_it(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.copies(), stdin=Stdin.PIPE)
        assert await worker.executor.feed("a", 0, inputs.data(b"abc")) == 3
        assert await worker.executor.feed("a", 9, inputs.data(b"a hole")) == 3
        await worker.until("a", InputWritten)
        await worker.executor.close()
        heir = rig.worker()
        (known,) = await heir.executor.adopt()
        assert (known.input_received, known.input_written) == (3, 3)
        assert await heir.executor.feed("a", 2, [*inputs.data(b"cd"), inputs.END]) == 5
        await heir.end("a")
        assert text(await heir.log("a"), LogStream.STDOUT) == b"abcd"
        assert await heir.executor.feed("a", 5, inputs.data(b"x")) is None
        await heir.executor.close(stop=True)

    async def test_an_attempt_without_input_takes_none(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.holds("x"))
        assert await worker.executor.feed("a", 0, inputs.data(b"x")) is None
        assert await worker.executor.feed("unknown", 0, inputs.data(b"x")) is None
        (known,) = await worker.executor.adopt()
        assert known.input_received is None

    async def test_a_newer_worker_takes_over(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.holds("x"))
        await worker.until("a", OutputGrew)
        heir = rig.worker()
        await heir.executor.adopt()
        async with asyncio.timeout(PATIENCE):
            async for _ in worker.executor.events():
                pass
        with pytest.raises(ExecutorUnavailable):
            await worker.start("b", rig.says("", "", 0))
        await heir.executor.kill("a", KillCause.CANCEL)
        await heir.end("a")
        await heir.executor.close(stop=True)

    async def test_a_deadline_that_passes_ends_the_attempt(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.holds("x"))
        await worker.until("a", OutputGrew)
        await worker.executor.set_deadline(rig.pass_deadline())
        rig.deadline_set()
        end = await worker.end("a")
        assert (end.outcome.kind, end.outcome.detail) == (OutcomeKind.LOST, "self_stop")

    async def test_closing_with_stop_ends_everything_and_twice_does_no_harm(self, rig: Rig, worker: Worker) -> None:
        await worker.start("a", rig.holds("x"))
        await worker.until("a", OutputGrew)
        await worker.executor.close(stop=True)
        await worker.executor.close(stop=True)
        end = await worker.end("a")
        assert (end.outcome.kind, end.outcome.detail) == (OutcomeKind.CANCELLED, "shutdown")
