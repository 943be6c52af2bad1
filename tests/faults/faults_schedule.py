"""A schedule: jobs and faults that one seed decides, run in a house, and judged by the oracles."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random

import pytest
from faults_house import House, Machine, processes_with, until
from faults_proxy import FaultProxy

from runner.v1.job_pb2 import Job, JobSpec, RetryPolicy, Step
from runner.v1.log_pb2 import LogRecord
from runner.v1.outcome_pb2 import Outcome
from runner_client import AsyncClient
from runner_client.errors import FailedPrecondition

JOBS = 8
SECONDS = 120.0
FINAL = {Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_TIMED_OUT, Job.STATE_CANCELLED, Job.STATE_LOST}


@dataclass
class Tally:
    """What the printed table says."""

    schedules: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    losses: int = 0
    duplicates: int = 0
    double_runs: int = 0
    survivors: int = 0

    @property
    def zeros(self) -> tuple[int, int, int, int]:
        return self.losses, self.duplicates, self.double_runs, self.survivors

    def add(self, other: Tally) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def table(self) -> str:
        kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(self.faults.items()))
        ends = ", ".join(f"{name} {count:,}" for name, count in sorted(self.ends.items()))
        rows = [
            ("schedules", f"{self.schedules:,}"),
            ("faults injected", f"{self.faults.total():,} ({kinds})"),
            ("jobs run", f"{self.jobs:,} ({ends})"),
            ("bytes compared", f"{self.compared:,}"),
            ("losses", str(self.losses)),
            ("duplicates", str(self.duplicates)),
            ("double runs", str(self.double_runs)),
            ("survivors", str(self.survivors)),
        ]
        return "\n".join(f"{name:<16} {value}" for name, value in rows)


TALLIES = pytest.StashKey[Callable[[Tally], None]]()
"""Where a session takes the tallies of its tests; see conftest."""


@dataclass
class Asked:
    """One job of a schedule."""

    number: int
    spec: JobSpec
    out: bytes
    """What it writes to standard output, all of it, if nobody ends it."""
    code: int = 0
    runs: int = 1
    """How often it is to be run if nobody ends it and nothing is lost."""
    cancel_after: float | None = None
    """Seconds from its making."""
    job: Job | None = None
    cancelled: bool = False
    """A cancel was accepted."""
    got: dict[str, bytearray] = field(default_factory=dict)
    """By attempt: standard output as a follower read it."""
    sequences: dict[str, int] = field(default_factory=dict)
    complete: bool = False
    faults: list[str] = field(default_factory=list)
    """What the follower saw that must not be."""


KINDS = ("plain", "plain", "halves", "stubborn", "leaky", "hidden", "retried", "endless")


def ask(number: int, kind: str, dice: Random, ran: Path, token: str) -> Asked:
    """A job of a kind, the rest of which the dice decide. It writes down that it runs before anything else."""
    begin = f"echo {number} >> {ran}; "
    lines = dice.choice([1, 30, 300, 3000])
    text = "".join(f"{line}\n" for line in range(number, number + lines)).encode()
    code = dice.choice([0, 0, 0, 3])
    asked = Asked(number, JobSpec(), text, code)
    pause = f"sleep {dice.choice([0.05, 0.2, 0.5])}"
    write = f"seq {number} {number + lines - 1}"
    if kind == "plain":
        body = f"{write}; exit {code}"
    elif kind == "halves":
        body = f"{write}; {pause}; {write}; exit {code}"
        asked.out = text * 2
    elif kind == "stubborn":  # passes over TERM and has a grandchild in a session of its own that does too
        body = f"trap '' TERM; {write}; setsid sleep 1000 & {pause}; sleep 1000"
        asked.cancel_after = dice.uniform(0.05, 0.8)
    elif kind == "leaky":  # leaves a process behind that holds the pipe
        body = f"sleep 1000 & {write}; exit {code}"
    elif kind == "hidden":  # double fork, own session, no environment
        body = f"(setsid env -i sleep 1000.{token[:9]} &) ; {write}; {pause}; exit {code}"
    elif kind == "retried":
        body = f"{write}; {pause}; exit 7"
        asked.code, asked.runs = 7, 3
    else:
        body = f"{write}; sleep 1000"
        asked.cancel_after = dice.uniform(0.0, 0.8)
    asked.spec = JobSpec(
        steps=[Step(script=begin + body)],
        environment={"FAULTS_TOKEN": token},
        retry=RetryPolicy(max_attempts=asked.runs),
    )
    asked.spec.kill_grace.FromMilliseconds(200)
    return asked


class Schedule:
    """One seed in one house."""

    def __init__(self, house: House, seed: int, tally: Tally) -> None:
        self._house = house
        self._dice = Random(seed)
        self._seed = seed
        self._tally = tally
        self._token = f"{Random(seed).getrandbits(62):019d}"
        self._ran = house.directory / f"ran-{seed}"
        self.supervisor_died = False
        """So that what it ran is LOST."""
        self.story: list[str] = []

    async def run(self, *kinds: str, faults: bool = True) -> None:
        """Runs jobs of these kinds, or of those that the seed has.

        Raises AssertionError with the story when something is not as it must be.
        """
        dice = self._dice
        drawn = kinds or dice.choices(KINDS, k=JOBS)
        asked = [ask(number, kind, dice, self._ran, self._token) for number, kind in enumerate(drawn, 1)]
        plan = [(dice.uniform(0.02, 0.35), *self._fault()) for _ in range(dice.randrange(3, 7))] if faults else []
        over = asyncio.Event()
        async with self._house.client() as client:
            striking = asyncio.create_task(self._strike(plan, over))
            try:
                async with asyncio.timeout(SECONDS):
                    await asyncio.gather(*(self._one(client, one) for one in asked))
            except TimeoutError:
                still = await self._open(client, asked)
                raise AssertionError(f"seed {self._seed}: no end; {self.story}; {still}") from None
            finally:
                over.set()
                await striking
            await self._judge(client, asked)

    async def _open(self, client: AsyncClient, asked: list[Asked]) -> str:
        """What the server says of the jobs that nobody has seen the end of."""
        said = []
        for one in asked:
            if one.job is None:
                said.append(f"{one.number} is not made")
            elif not one.complete:
                async with asyncio.timeout(20):
                    job = await client.get_job(one.job.job_id)
                    attempts = await client.list_attempts(one.job.job_id)
                said.append(f"{one.number}: {job} {attempts}, followed up to {one.sequences}")
        return "\n".join(said)

    def _fault(self) -> tuple[str, int, float, int]:
        """Its kind, where, for how long, and a seed of its own."""
        dice = self._dice
        kinds = {
            "cut": 5, "delay": 4, "half-open": 3, "reset after reply": 5, "duplicate": 4, "kill worker": 3,
            "kill server": 2, "kill both": 1, "kill supervisor": 1, "crash server": 2, "crash worker": 2,
        }  # fmt: skip
        (kind,) = dice.choices(list(kinds), list(kinds.values()))
        return kind, dice.randrange(3), dice.uniform(0.05, 0.4), dice.getrandbits(32)

    async def _strike(self, plan: list[tuple[float, str, int, float, int]], over: asyncio.Event) -> None:
        house = self._house
        for pause, kind, place, seconds, seed in plan:
            await asyncio.sleep(pause)  # the schedule of the faults, not a wait for anything
            if over.is_set():
                return
            machine = house.machines[place % len(house.machines)]
            self._tally.faults[kind] += 1
            detail = await self._commit(kind, seconds, Random(seed), machine, house.proxies[place])
            self.story.append(f"{kind} {detail or place}")

    async def _commit(self, kind: str, seconds: float, dice: Random, machine: Machine, proxy: FaultProxy) -> str:
        house = self._house
        match kind:
            case "cut":
                await proxy.cut(seconds)
            case "delay":
                await proxy.delay(seconds / 10, seconds)
            case "half-open":
                await proxy.half_open(seconds)
            case "reset after reply":
                await proxy.reset_after_reply(seconds)
            case "duplicate":
                await proxy.duplicate()
            case "kill worker":
                await house.kill_worker(machine)
            case "kill server":
                await house.kill_server()
            case "kill both":
                await asyncio.gather(house.kill_server(), house.kill_worker(machine))
            case "kill supervisor":
                self.supervisor_died = True
                house.kill_supervisor(machine)
            case "crash server":
                return await house.crash_server(dice)
            case "crash worker":
                return await house.crash_worker(machine, dice)
        return ""

    async def _one(self, client: AsyncClient, one: Asked) -> None:
        one.job = await client.create_job(one.spec, request_id=f"{self._seed}-{one.number}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(client, one))
            if one.cancel_after is not None:
                tasks.create_task(self._cancel(client, one, one.cancel_after))
        one.job = await client.wait(one.job.job_id)

    async def _cancel(self, client: AsyncClient, one: Asked, seconds: float) -> None:
        assert one.job is not None
        await asyncio.sleep(seconds)  # a part of the schedule
        try:
            await client.cancel(one.job.job_id)
        except FailedPrecondition:  # It was lost, or the answer to the first try was.
            one.cancelled = (await client.get_job(one.job.job_id)).HasField("cancel")
        else:
            one.cancelled = True

    async def _follow(self, client: AsyncClient, one: Asked) -> None:
        assert one.job is not None
        async for message in client.follow(one.job.job_id):
            for record in message.records:
                expected = one.sequences.get(message.attempt_id, 0)
                if record.sequence != expected:
                    kind = "duplicate" if record.sequence < expected else "gap"
                    one.faults.append(f"{kind} at {record.sequence}, expected {expected}")
                one.sequences[message.attempt_id] = record.sequence + 1
                if record.stream == LogRecord.STREAM_STDOUT:
                    one.got.setdefault(message.attempt_id, bytearray()).extend(record.data)
            if message.HasField("end"):
                one.complete = message.end.complete

    async def _judge(self, client: AsyncClient, asked: list[Asked]) -> None:
        tally, problems = self._tally, []
        runs = Counter(map(int, self._ran.read_text().split())) if self._ran.exists() else Counter()
        for one in asked:
            assert one.job is not None
            problems += [f"job {one.number}: {what}" for what in await self._judge_one(client, one, runs[one.number])]
        await self._no_survivors(problems)
        tally.schedules += 1
        tally.jobs += len(asked)
        if self._ran.exists():
            self._ran.unlink()
        assert not problems, f"seed {self._seed}: {problems}; {self.story}"

    async def _judge_one(self, client: AsyncClient, one: Asked, runs: int) -> list[str]:
        tally, job, problems = self._tally, one.job, list(one.faults)
        assert job is not None
        state = Job.State.Name(job.state).removeprefix("STATE_")
        tally.ends[state] += 1
        tally.duplicates += sum("duplicate" in fault for fault in one.faults)
        tally.losses += sum("gap" in fault for fault in one.faults)
        attempts = await client.list_attempts(job.job_id)
        lost = [attempt for attempt in attempts if attempt.outcome.kind == Outcome.KIND_LOST]
        if lost and not (self.supervisor_died and all(a.outcome.detail == "supervisor_died" for a in lost)):
            problems.append(f"lost: {[attempt.outcome.detail for attempt in lost]}")
            tally.losses += 1
        if runs > job.attempts:
            problems.append(f"ran {runs} times in {job.attempts} attempts")
            tally.double_runs += 1
        if job.state not in FINAL:
            problems.append(f"is {state}")
        if one.cancelled and job.state != Job.STATE_CANCELLED:
            problems.append(f"was cancelled and is {state}")
        if not one.cancelled and not lost:
            if job.outcome.exit_code != one.code or job.outcome.kind != Outcome.KIND_EXITED:
                problems.append(f"ended as {job.outcome}")
            if runs != one.runs or job.attempts != one.runs:
                problems.append(f"ran {runs} times, of {one.runs}, in {job.attempts} attempts")
                tally.losses += runs < one.runs
                tally.double_runs += runs > one.runs
        problems += await self._compare(client, one, attempts_lost={attempt.attempt_id for attempt in lost})
        if job.outcome.survivors:
            problems.append(f"{job.outcome.survivors} survivors")
            tally.survivors += job.outcome.survivors
        events = [event async for event in client.watch(job.job_id)]
        if [event.kind for event in events].count("finished") != 1 or events[-1].kind != "finished":
            problems.append(f"events {[event.kind for event in events]}")
        return problems

    async def _compare(self, client: AsyncClient, one: Asked, attempts_lost: set[str]) -> list[str]:
        """What a follower read live, and what another reads afterwards, against what the job wrote."""
        assert one.job is not None
        problems = []
        again: dict[str, bytearray] = {}
        async for message in client.follow(one.job.job_id):
            for record in message.records:
                if record.stream == LogRecord.STREAM_STDOUT:
                    again.setdefault(message.attempt_id, bytearray()).extend(record.data)
        if again != one.got:
            problems.append("a second reader read something else")
            self._tally.losses += 1
        whole = not one.cancelled and not attempts_lost
        if whole and not one.complete:
            problems.append("its log is not complete")
        if whole and len(one.got) != one.runs:
            problems.append(f"logs of {len(one.got)} attempts, of {one.runs}")
            self._tally.losses += 1
        for attempt_id, data in one.got.items():
            self._tally.compared += len(data)
            if (whole and data != one.out) or not one.out.startswith(data):
                problems.append(f"attempt {attempt_id} shows {len(data)} bytes of {len(one.out)}, or others")
                self._tally.losses += len(data) < len(one.out)
                self._tally.duplicates += len(data) > len(one.out)
        return problems

    async def _no_survivors(self, problems: list[str]) -> None:
        """A tree is dead when its end is told; of what was lost, when its machine is back."""
        try:
            await until(lambda: not self._alive(), what="the death of all processes", seconds=20)
        except AssertionError:
            left = self._alive()
            self._tally.survivors += len(left)
            problems.append(f"processes {left} survive")
            for pid in left:
                os.kill(pid, signal.SIGKILL)

    def _alive(self) -> list[int]:
        return sorted({*processes_with(f"FAULTS_TOKEN={self._token}"), *processes_with(f"1000.{self._token[:9]}")})
