"""The store as its ports describe it, a class per noun."""

from __future__ import annotations

from runner_service.ports.signals import Signals
from runner_service.store.engine import Engine
from runner_service.store.sql.agent_reports import SqlAgentReports
from runner_service.store.sql.agents import SqlAgents
from runner_service.store.sql.answers import SqlAnswers
from runner_service.store.sql.artifacts import SqlArtifacts
from runner_service.store.sql.audit import SqlAudit
from runner_service.store.sql.blobs import SqlBlobOwners
from runner_service.store.sql.credentials import SqlApiKeys, SqlClients, SqlRefreshTokens
from runner_service.store.sql.dispatch import SqlDispatch
from runner_service.store.sql.images import SqlImages
from runner_service.store.sql.inputs import SqlInputs
from runner_service.store.sql.jobs import SqlJobs
from runner_service.store.sql.lab import SqlLabAgents, SqlLabRecords
from runner_service.store.sql.lab_secrets import SqlLabSecrets
from runner_service.store.sql.logs import SqlLogs
from runner_service.store.sql.queues import SqlQueues
from runner_service.store.sql.runners import SqlRunnerFeed, SqlRunners, SqlSamples
from runner_service.store.sql.secrets import SqlSecrets
from runner_service.store.sql.worker_credentials import SqlWorkerCredentials

__all__ = ["SqlStore"]


class SqlStore:
    """`Store`, on either engine."""

    def __init__(self, engine: Engine, signals: Signals) -> None:
        self.engine = engine
        self.signals = signals
        self.shared = engine.shared
        self.agents = SqlAgents(engine)
        self.images = SqlImages(engine)
        self.jobs = SqlJobs(engine)
        self.runners = SqlRunners(engine)
        self.runner_feed = SqlRunnerFeed(engine)
        self.samples = SqlSamples(engine)
        self.worker_credentials = SqlWorkerCredentials(engine)
        self.dispatch = SqlDispatch(engine, before_reports=self.jobs.creates.go_along)
        self.logs = SqlLogs(engine)
        self.answers = SqlAnswers(engine)
        self.api_keys = SqlApiKeys(engine)
        self.clients = SqlClients(engine)
        self.refresh_tokens = SqlRefreshTokens(engine)
        self.audit = SqlAudit(engine)
        self.blobs = SqlBlobOwners(engine)
        self.inputs = SqlInputs(engine)
        self.secrets = SqlSecrets(engine)
        self.artifacts = SqlArtifacts(engine)
        self.queues = SqlQueues(engine)
        self.lab_records = SqlLabRecords(engine)
        self.lab_agents = SqlLabAgents(engine)
        self.lab_secrets = SqlLabSecrets(engine)
        self.agent_reports = SqlAgentReports(engine)

    @property
    def reachable(self) -> bool:
        """False while the database does not answer."""
        return self.engine.reachable
