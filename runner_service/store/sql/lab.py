"""What agents of labs post, and the agents: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner_service.domain.jobs import Micros
from runner_service.domain.queues import FileKind, Fragment, LabAgent, LabFile, OutputKind, ProvisionLog
from runner_service.ports.store.lab_agents import NOTHING
from runner_service.ports.store.lab_records import Stored
from runner_service.store import lab_agents, lab_records
from runner_service.store.engine import Engine


class SqlLabRecords:
    """`LabRecordStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def append(self, job_id: str, kind: OutputKind, fragment: Fragment, *, limit_bytes: int) -> Stored:
        return await self._engine.write(lab_records.append, job_id, kind, fragment, limit_bytes)

    async def fragments(
        self,
        job_id: str,
        kind: OutputKind,
        *,
        phase: str | None = None,
        start: int = 0,
        since: str = "",
        max_bytes: int,
    ) -> Sequence[Fragment]:
        return await self._engine.read(lab_records.fragments, job_id, kind, phase, start, since, max_bytes)

    async def unread(self, job_id: str, kind: OutputKind, *, reader: str, max_bytes: int) -> Sequence[str]:
        return await self._engine.write(lab_records.unread, job_id, kind, reader, max_bytes)

    async def read_up_to(self, job_id: str, kind: OutputKind, *, reader: str) -> int:
        return await self._engine.read(lab_records.read_up_to, job_id, kind, reader)

    async def note_read(self, job_id: str, kind: OutputKind, *, reader: str, up_to: int) -> None:
        await self._engine.write(lab_records.note_read, job_id, kind, reader, up_to)

    async def put_file(self, job_id: str, kind: FileKind, file: LabFile) -> str:
        return await self._engine.write(lab_records.put_file, job_id, kind, file)

    async def file(self, job_id: str, kind: FileKind) -> LabFile | None:
        return await self._engine.read(lab_records.file, job_id, kind)

    async def expire(self, *, touched_before: Micros, limit: int) -> tuple[int, Sequence[str]]:
        return await self._engine.write(lab_records.expire, touched_before, limit)


class SqlLabAgents:
    """`LabAgentStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def post(
        self,
        name: str,
        changes: Mapping[str, Any],
        *,
        log: Sequence[str] = (),
        client_id: str = "",
        extra: Mapping[str, str] = NOTHING,
    ) -> None:
        await self._engine.write(lab_agents.post, name, changes, log, client_id, extra)

    async def get(self, name: str) -> LabAgent:
        return await self._engine.read(lab_agents.get, name)

    async def list(self) -> Sequence[LabAgent]:
        return await self._engine.read(lab_agents.list_agents)

    async def add_provision_log(self, name: str, entry: ProvisionLog) -> None:
        await self._engine.write(lab_agents.add_provision_log, name, entry)

    async def provision_logs(self, name: str) -> Sequence[ProvisionLog]:
        return await self._engine.read(lab_agents.provision_logs, name)

    async def advertise(self, descriptions: Mapping[str, str]) -> None:
        await self._engine.write(lab_agents.advertise, descriptions)

    async def set_images(self, images: Mapping[str, str]) -> None:
        await self._engine.write(lab_agents.set_images, images)

    async def advertised(self) -> Mapping[str, str]:
        return await self._engine.read(lab_agents.advertised)

    async def images(self, queue: str) -> str:
        return await self._engine.read(lab_agents.images, queue)

    async def restricted(self) -> Mapping[str, Sequence[str]]:
        return await self._engine.read(lab_agents.restricted)

    async def owners(self, queue: str) -> Sequence[str] | None:
        return await self._engine.read(lab_agents.owners, queue)

    async def restrict(self, queue: str, client_id: str) -> None:
        await self._engine.write(lab_agents.restrict, queue, client_id)

    async def release(self, queue: str, client_id: str | None) -> bool:
        return await self._engine.write(lab_agents.release, queue, client_id)

    async def expire(self, *, updated_before: Micros) -> None:
        await self._engine.write(lab_agents.expire, updated_before)
