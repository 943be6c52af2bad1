"""Memory of agents: kept when it changes, and never in the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from services_house import SOON, House

from runner_service.domain.agents import Agent
from runner_service.domain.dispatch import Beat, Listed
from runner_service.domain.jobs import Job, JobKind, Step
from runner_service.domain.requests import NewJob
from runner_service.ports.signals import EVENTS
from runner_service.services.gauges import Gauges

MIB = 1 << 20


async def an_agent(house: House) -> Job:
    draft, _, limit = await house.jobs.draft(NewJob(kind=JobKind.AGENT, steps=(Step(argv=("agent",)),)))
    agent = Agent(agent_id=draft.job_id, name="a", image="echo")
    return (await house.store.agents.create(agent, draft, queue_limit=limit)).job


async def test_an_agents_memory_is_kept_when_it_changes_by_enough(house: House) -> None:
    gauges = Gauges(agents=house.store.agents, signals=house.store.signals)
    job = await an_agent(house)
    worker = await house.worker()
    (offer,) = await worker.sync()

    def beat(size: int) -> Beat:
        return replace(worker.beat(), listed=(Listed(attempt_id=offer.attempt_id, fence=1, memory_bytes=size),))

    for size, kept in ((10 * MIB, 10 * MIB), (10 * MIB + 1000, 10 * MIB), (12 * MIB, 12 * MIB)):
        with house.store.signals.subscribe(EVENTS) as waiter:
            gauges.take(beat(size))
            if size == kept:
                await asyncio.wait_for(waiter.wait(SOON), SOON)
        assert (await house.store.agents.get(job.job_id)).agent.memory_bytes == kept
    gauges.take(beat(0))
    assert (await house.store.agents.get(job.job_id)).agent.memory_bytes == 12 * MIB
