"""A part of the composition root: from the settings to everything that makes a lab."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runner_service.config import Settings
from runner_service.ports.blobs import Blobs
from runner_service.ports.clock import Clock
from runner_service.ports.signals import Signals
from runner_service.ports.store import LabAgentStore, LabRecordStore, QueueStore, RunnerStore
from runner_service.services.artifacts import Artifacts
from runner_service.services.jobs import Jobs
from runner_service.services.logs import LogReader, LogTails
from runner_service.services.queues import LabAgents, LabRecords, LabSecrets, LabTimes, OwnAttempts, Queues
from runner_service.services.sweeping import sweep_for_ever

_DAY = 86_400


class Stores(Protocol):
    """The parts of a store that labs lie in."""

    @property
    def runners(self) -> RunnerStore: ...
    @property
    def queues(self) -> QueueStore: ...
    @property
    def lab_records(self) -> LabRecordStore: ...
    @property
    def lab_agents(self) -> LabAgentStore: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """What makes a lab."""

    queues: Queues
    secrets: LabSecrets
    records: LabRecords
    agents: LabAgents
    clock: Clock
    keep_seconds: float
    sweep_seconds: float
    lease_sweep_seconds: float = 5.0

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What runs beside the calls."""
        return [
            sweep_for_ever("leases of agents", self.queues.expire, seconds=self.lease_sweep_seconds),
            sweep_for_ever("what labs posted", self.forget, seconds=self.sweep_seconds),
        ]

    async def forget(self) -> None:
        """Deletes what was posted for ids, and of agents, that nobody has heard of for long."""
        await self.records.expire(keep_seconds=self.keep_seconds)
        await self.agents.expire(keep_seconds=self.keep_seconds)
        await self.secrets.expire()


def make_lab(
    settings: Settings,
    *,
    store: Stores,
    blobs: Blobs,
    jobs: Jobs,
    reader: LogReader,
    artifacts: Artifacts,
    signals: Signals,
    tails: LogTails,
    clock: Clock,
    secrets: LabSecrets,
) -> Lab:
    """Makes the services of a lab."""
    lab = settings.testflinger
    queues = Queues(
        store=store.queues,
        agents=store.lab_agents,
        jobs=jobs,
        signals=signals,
        tails=tails,
        times=LabTimes(
            global_timeout=lab.default_timeout_seconds,
            grace=lab.lease_grace_seconds,
            silence=lab.agent_silence_seconds,
            cleanup=lab.cleanup_seconds,
            requeue_lost=lab.requeue_lost_jobs,
            queue=settings.retention.jobs_days * _DAY,
        ),
        commands=lab.commands,
        queue_limit=settings.executor.max_queued_jobs,
        clock=clock,
        secrets=secrets,
    )
    records = LabRecords(
        store=store.lab_records,
        queues=store.queues,
        blobs=blobs,
        ours=OwnAttempts(reader),
        artifacts=artifacts,
        signals=signals,
        tails=tails,
        clock=clock,
        output_limit=lab.max_output_bytes,
        file_limit=lab.max_file_bytes,
    )
    return Lab(
        queues=queues,
        secrets=secrets,
        records=records,
        agents=LabAgents(store=store.lab_agents, runners=store.runners, clock=clock),
        clock=clock,
        keep_seconds=settings.retention.jobs_days * _DAY,
        sweep_seconds=settings.retention.sweep_seconds,
        lease_sweep_seconds=lab.lease_sweep_seconds,
    )
