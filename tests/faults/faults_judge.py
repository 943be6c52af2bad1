"""The oracles: what the jobs of a schedule wrote, against what clients saw of them, and what is left on the machine."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from faults_house import processes_with, until
from faults_jobs import OUTPUT, Asked
from faults_tally import Tally

from runner.v1.job_pb2 import Job
from runner.v1.outcome_pb2 import Outcome
from runner_client import AsyncClient

FINAL = {Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_TIMED_OUT, Job.STATE_CANCELLED, Job.STATE_LOST}
SHOWN = 2_000
"""Characters of an outcome or a log in a message."""


class Judge:
    """Counts what is not as it must be, and says it."""

    def __init__(
        self, client: AsyncClient, tally: Tally, notes: Path, token: str, *, supervisor_died: bool,
        engine_died: bool, containers: Callable[[], list[str]],
    ) -> None:  # fmt: skip
        """
        Args:
            notes: Where the jobs wrote down that they run, and beside it that they ran twice at one time.
            token: Marks every process of them.
            supervisor_died: Attempts may be LOST for that, and for nothing else.
            engine_died: What ran in a container may have ended for that, as a fault of the runner.
            containers: All there are.
        """
        self._client = client
        self._tally = tally
        self._notes = notes
        self._token = token
        self._supervisor_died = supervisor_died
        self._engine_died = engine_died
        self._containers = containers

    async def problems(self, asked: list[Asked]) -> list[str]:
        """Everything that is wrong, once all of them have ended."""
        tally = self._tally
        # First, because what lives may still write down that it runs.
        problems = await self._survivors()
        runs, twice = self._numbers(self._notes), self._numbers(Path(f"{self._notes}-twice"))
        for one in asked:
            found = await self._judge(one, runs[one.number])
            if twice[one.number]:
                found.append("ran while another run of it lived")
                tally.double_runs += 1
            problems += [f"job {one.number}: {what}" for what in found]
        tally.schedules += 1
        tally.jobs += len(asked)
        for path in self._notes.parent.glob(f"{self._notes.name}*"):
            path.unlink()
        return problems

    def _numbers(self, path: Path) -> Counter[int]:
        return Counter(map(int, path.read_text().split())) if path.exists() else Counter()

    async def _judge(self, one: Asked, runs: int) -> list[str]:
        tally, job, problems = self._tally, one.job, list(one.faults)
        assert job is not None
        state = Job.State.Name(job.state).removeprefix("STATE_")
        tally.ends[state] += 1
        tally.attempts += job.attempts
        tally.duplicates += sum("duplicate" in fault for fault in one.faults)
        tally.losses += sum("gap" in fault for fault in one.faults)
        attempts = await self._client.list_attempts(job.job_id)
        lost = [attempt for attempt in attempts if attempt.outcome.kind == Outcome.KIND_LOST]
        if lost and not (self._supervisor_died and all(a.outcome.detail == "supervisor_died" for a in lost)):
            problems.append(f"lost: {[attempt.outcome.detail for attempt in lost]}")
            tally.losses += 1
        if self._engine_died and one.spec.HasField("container"):
            lost += [attempt for attempt in attempts if attempt.outcome.kind == Outcome.KIND_INFRASTRUCTURE]
        if runs > job.attempts:
            problems.append(f"ran {runs} times in {job.attempts} attempts")
            tally.double_runs += 1
        if job.state not in FINAL:
            problems.append(f"is {state}")
        if one.cancelled and job.state != Job.STATE_CANCELLED:
            problems.append(f"was cancelled and is {state}")
        if not one.cancelled and (not lost or one.repeated):
            if job.outcome.exit_code != one.code or job.outcome.kind != Outcome.KIND_EXITED:
                problems.append(f"ended as {str(job.outcome)[:SHOWN]}")
            # What was lost may have run, and may not.
            if not one.runs <= runs <= one.runs + len(lost) or job.attempts != one.runs + len(lost):
                problems.append(
                    f"ran {runs} times, of {one.runs}, in {job.attempts} attempts, {len(lost)} of them lost"
                )
                tally.losses += runs < one.runs
                tally.double_runs += runs > one.runs + len(lost)
        problems += await self._compare(one, lost={attempt.attempt_id for attempt in lost})
        if job.outcome.survivors:
            problems.append(f"{job.outcome.survivors} survivors")
            tally.survivors += job.outcome.survivors
        events = [event async for event in self._client.watch(job.job_id)]
        if [event.kind for event in events].count("finished") != 1 or events[-1].kind != "finished":
            problems.append(f"events {[event.kind for event in events]}")
        return problems

    async def _compare(self, one: Asked, *, lost: set[str]) -> list[str]:
        """What a follower read live, and what another reads afterwards, against what the job wrote."""
        assert one.job is not None
        tally, problems = self._tally, []
        again: dict[str, bytearray] = {}
        async for message in self._client.follow(one.job.job_id):
            for record in message.records:
                if record.stream in OUTPUT:
                    again.setdefault(message.attempt_id, bytearray()).extend(record.data)
        if again != one.got:
            problems.append("a second reader read something else")
            tally.losses += 1
        whole = not one.cancelled and (not lost or one.repeated)
        if whole and not one.complete:
            problems.append("its log is not complete")
        if whole and len(one.got.keys() - lost) != one.runs:
            problems.append(f"logs of {len(one.got)} attempts, of {one.runs}, {len(lost)} of them lost")
            tally.losses += 1
        for attempt_id, data in one.got.items():
            exact = whole and attempt_id not in lost
            problems += self._same(f"attempt {attempt_id}", data, one.out, exact=exact)
        if one.given:
            problems += self._same("who gave it input", one.heard, one.out, exact=whole)
        return problems

    def _same(self, who: str, data: bytes | bytearray, out: bytes, *, exact: bool) -> list[str]:
        self._tally.compared += len(data)
        if data == out if exact else out.startswith(data):
            return []
        self._tally.losses += len(data) < len(out)
        self._tally.duplicates += len(data) > len(out)
        place = next((at for at, (ours, theirs) in enumerate(zip(data, out, strict=False)) if ours != theirs), None)
        return [f"{who} shows {len(data)} bytes of {len(out)}" + (f", others from {place} on" if place else "")]

    async def _survivors(self) -> list[str]:
        """A tree is dead when its end is told; of what was lost, when its machine is back."""
        try:
            seconds = 80 if self._engine_died else 20  # A holder that nobody knows of is found after a minute.
            await until(lambda: not self._alive() and not self._containers(), what="the end of all", seconds=seconds)
        except AssertionError:
            left, containers = self._alive(), self._containers()
            self._tally.survivors += len(left) + len(containers)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return [f"processes {left} and containers {containers} survive"]
        return []

    def _alive(self) -> list[int]:
        return sorted({*processes_with(f"FAULTS_TOKEN={self._token}"), *processes_with(f"1000.{self._token[:9]}")})
