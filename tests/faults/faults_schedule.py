"""A schedule: jobs and faults that one seed decides, run in a house, and judged by the oracles."""

from __future__ import annotations

import asyncio
from random import Random, getrandbits

from faults_house import House
from faults_jobs import KINDS, OUTPUT, PIECE, Asked, ask, contain
from faults_judge import Judge
from faults_tally import Tally

from runner.v1.job_pb2 import JobSpec
from runner_client import AsyncClient
from runner_client.errors import FailedPrecondition
from runner_client.exec import ExecSession

JOBS = 8
SECONDS = 120.0
IN_CONTAINERS = 0.6
"""Of the jobs, where there is an engine."""


class Schedule:
    """One seed in one house."""

    def __init__(self, house: House, seed: int, tally: Tally) -> None:
        self._house = house
        self._dice = Random(seed)
        self._seed = seed
        self._tally = tally
        self._token = f"{getrandbits(62):019d}"  # No other run has it, whatever its seed.
        self._notes = house.directory / f"notes-{seed}"
        self.supervisor_died = any(machine.may_lose for machine in house.machines)
        """So that what it ran is LOST."""
        self.engine_died = False
        """So that containers are ended, by a fault of the runner."""
        self.story: list[str] = []

    async def run(self, *kinds: str, faults: bool = True) -> None:
        """Runs jobs of these kinds, or of those that the seed has.

        Raises AssertionError with the story when something is not as it must be.
        """
        dice = self._dice
        drawn = kinds or dice.choices(KINDS, k=JOBS)
        asked = [ask(number, kind, dice, self._notes, self._token) for number, kind in enumerate(drawn, 1)]
        if self._house.engine is not None:
            for one in asked:
                if dice.random() < IN_CONTAINERS:
                    contain(one, self._notes)
                    self._tally.contained += 1
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
            judge = Judge(
                client, self._tally, self._notes, self._token,
                supervisor_died=self.supervisor_died, engine_died=self.engine_died, containers=self._house.containers,
            )  # fmt: skip
            problems = await judge.problems(asked)
        assert not problems, f"seed {self._seed}: {problems}; {self.story}"

    async def _open(self, client: AsyncClient, asked: list[Asked]) -> str:
        """What the server says of the jobs that nobody has seen the end of."""
        said = []
        for one in asked:
            if one.job is None:
                said.append(f"{one.number} is not made")
            elif not one.complete:
                async with asyncio.timeout(60):
                    job = await client.get_job(one.job.job_id)
                    attempts = await client.list_attempts(one.job.job_id)
                said.append(f"{one.number}: {job} {attempts}, followed up to {one.sequences}")
        return "\n".join(said)

    def _fault(self) -> tuple[str, int, float, int]:
        """Its kind, where, for how long, and a seed of its own."""
        dice = self._dice
        kinds = {
            "cut": 5, "delay": 4, "half-open": 3, "reset after reply": 5, "duplicate": 4, "kill worker": 3,
            "kill server": 2, "kill both": 1, "kill supervisor": 2, "crash server": 3, "crash worker": 3,
            "crash supervisor": 3,
        }  # fmt: skip
        if self._house.engine is not None:
            kinds["kill engine"] = 2
        (kind,) = dice.choices(list(kinds), list(kinds.values()))
        return kind, dice.randrange(6), dice.uniform(0.05, 0.4), dice.getrandbits(32)

    async def _strike(self, plan: list[tuple[float, str, int, float, int]], over: asyncio.Event) -> None:
        for pause, kind, place, seconds, seed in plan:
            await asyncio.sleep(pause)  # the schedule of the faults, not a wait for anything
            if over.is_set():
                return
            self._tally.faults[kind] += 1
            detail = await self._commit(kind, place, seconds, Random(seed))
            self.story.append(f"{kind} {detail or place}")

    async def _commit(self, kind: str, place: int, seconds: float, dice: Random) -> str:
        house = self._house
        proxy = house.proxies[place % len(house.proxies)]
        machine, seat = house.machines[place % len(house.machines)], house.seats[place % len(house.seats)]
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
                await house.kill_server(seat)
            case "kill both":
                await asyncio.gather(house.kill_server(seat), house.kill_worker(machine))
            case "kill supervisor":
                self.supervisor_died = True
                house.kill_supervisor(machine)
            case "kill engine":
                self.engine_died = True
                await house.kill_engine()
            case "crash server":
                return await house.crash_server(seat, dice)
            case "crash worker":
                return await house.crash_worker(machine, dice)
            case "crash supervisor":
                self.supervisor_died = True
                return await house.crash_supervisor(machine, dice)
        return ""

    async def _one(self, client: AsyncClient, one: Asked) -> None:
        one.job = await client.create_job(one.spec, request_id=f"{self._seed}-{one.number}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(client, one))
            if one.given:
                tasks.create_task(self._talk(client, one))
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

    async def _talk(self, client: AsyncClient, one: Asked) -> None:
        """Is connected with it, by the name that it was made with, and gives it its input."""
        session = client.attach(request_id=f"{self._seed}-{one.number}")
        giving = asyncio.create_task(self._give(session, one))
        try:
            async for message in session.output():
                one.heard += b"".join(record.data for record in message.records if record.stream in OUTPUT)
        finally:
            giving.cancel()
            await asyncio.wait((giving,))

    async def _give(self, session: ExecSession, one: Asked) -> None:
        while one.spec.stdin == JobSpec.STDIN_PTY and not one.heard:
            await asyncio.sleep(0.01)  # Before it has said something its terminal is not as it will be.
        for at in range(0, len(one.given), PIECE):
            await session.write(one.given[at : at + PIECE])
            await asyncio.sleep(0.01)  # the pace of one who types fast
        session.finish()

    async def _follow(self, client: AsyncClient, one: Asked) -> None:
        assert one.job is not None
        async for message in client.follow(one.job.job_id):
            for record in message.records:
                expected = one.sequences.get(message.attempt_id, 0)
                if record.sequence != expected:
                    kind = "duplicate" if record.sequence < expected else "gap"
                    one.faults.append(f"{kind} at {record.sequence}, expected {expected}")
                one.sequences[message.attempt_id] = record.sequence + 1
                if record.stream in OUTPUT:
                    one.got.setdefault(message.attempt_id, bytearray()).extend(record.data)
            if message.HasField("end"):
                one.complete = message.end.complete
