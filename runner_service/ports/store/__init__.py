"""The store: every fact that must outlive a process.

Rules for all methods: each is one transaction, durable when it returns, and may be called from any task of the event
loop. A method that raises has changed nothing. Times are stamped by the store with the store's own clock (the
database's on PostgreSQL), so that leases compare times of one clock. A full disk raises `StorageFull`.
"""

from __future__ import annotations

from typing import Protocol

from runner_service.ports.store.agent_reports import AgentReportStore
from runner_service.ports.store.agents import AgentStore
from runner_service.ports.store.answers import AnswerKey, AnswerStore, KeptAnswer, Mark
from runner_service.ports.store.api_keys import ApiKeyStore
from runner_service.ports.store.artifacts import ArtifactStore
from runner_service.ports.store.audit import AuditStore
from runner_service.ports.store.blobs import BlobOwners
from runner_service.ports.store.clients import ClientStore, RefreshTokenStore
from runner_service.ports.store.dispatch import DispatchStore
from runner_service.ports.store.images import ImagePage, ImageStore
from runner_service.ports.store.inputs import InputStore
from runner_service.ports.store.jobs import Expired, JobFilter, JobPage, JobStore
from runner_service.ports.store.lab_agents import LabAgentStore
from runner_service.ports.store.lab_records import LabRecordStore
from runner_service.ports.store.lab_secrets import LabSecretStore
from runner_service.ports.store.logs import LogArchive, LogChunk, LogStore
from runner_service.ports.store.queues import QueueStore
from runner_service.ports.store.runners import (
    Advance,
    Changed,
    RunnerChange,
    RunnerFeedStore,
    RunnerFilter,
    RunnerPage,
    RunnerStore,
    SampleStore,
    Statistics,
    Tally,
)
from runner_service.ports.store.secrets import SecretStore
from runner_service.ports.store.worker_credentials import WorkerCredentialStore

__all__ = [
    "Advance",
    "AgentReportStore",
    "AgentStore",
    "AnswerKey",
    "AnswerStore",
    "ApiKeyStore",
    "ArtifactStore",
    "AuditStore",
    "BlobOwners",
    "Changed",
    "ClientStore",
    "DispatchStore",
    "Expired",
    "ImagePage",
    "ImageStore",
    "InputStore",
    "JobFilter",
    "JobPage",
    "JobStore",
    "KeptAnswer",
    "LabAgentStore",
    "LabRecordStore",
    "LabSecretStore",
    "LogArchive",
    "LogChunk",
    "LogStore",
    "Mark",
    "QueueStore",
    "RefreshTokenStore",
    "RunnerChange",
    "RunnerFeedStore",
    "RunnerFilter",
    "RunnerPage",
    "RunnerStore",
    "SampleStore",
    "SecretStore",
    "Statistics",
    "Store",
    "Tally",
    "WorkerCredentialStore",
]


class Store(Protocol):
    """All of it, open. Made by ``store.open_store(url, …)``, an async context manager."""

    agents: AgentStore
    images: ImageStore
    jobs: JobStore
    runners: RunnerStore
    runner_feed: RunnerFeedStore
    samples: SampleStore
    worker_credentials: WorkerCredentialStore
    dispatch: DispatchStore
    logs: LogStore
    agent_reports: AgentReportStore
    answers: AnswerStore
    api_keys: ApiKeyStore
    clients: ClientStore
    refresh_tokens: RefreshTokenStore
    audit: AuditStore
    blobs: BlobOwners
    inputs: InputStore
    secrets: SecretStore
    artifacts: ArtifactStore
    queues: QueueStore
    lab_records: LabRecordStore
    lab_agents: LabAgentStore
    lab_secrets: LabSecretStore
    shared: bool
    """Several servers may use it at the same time: waiters must poll, hints from others may get lost."""
