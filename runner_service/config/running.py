"""How jobs are run, kept and logged."""

from __future__ import annotations

from pydantic import Field

from runner_service.config.base import Section


class Executor(Section):
    """The local runner, and what jobs get that do not say."""

    max_concurrent_jobs: int = Field(default=10, gt=0)
    default_timeout_seconds: float = Field(default=1800, gt=0)
    kill_grace_seconds: float = Field(default=5.0, ge=0)
    max_queued_jobs: int = Field(default=10_000, gt=0)
    working_directory: str = ""
    """Of SCT commands that name none; empty: a fresh one for each."""
    local_runner: bool = True
    queues: tuple[str, ...] = ()
    """Lab queues that the local runner serves beside other work."""
    job_cpus: float = Field(default=0.0, ge=0)
    job_memory_bytes: int = Field(default=0, ge=0)
    job_processes: int = Field(default=4096, ge=0)
    containers: bool = True
    """Run containers where the machine has a Docker engine."""


class Store(Section):
    """Where facts are kept."""

    url: str = ""
    """Empty: SQLite in the data directory. ``postgresql+psycopg://…`` for more than one server."""
    migrate: bool = True


class Blobs(Section):
    """Where sealed logs, artifacts and images are kept."""

    url: str = ""
    """Empty: ``blobs/`` in the data directory. ``file:///directory`` or ``s3://bucket/prefix`` for several servers."""
    endpoint: str = ""
    """Of a service other than Amazon's that speaks S3: ``https://host:port``."""
    region: str = "us-east-1"
    access_key_id: str = ""
    """Empty: what the AWS tools would take (their environment, a web identity, the machine's role)."""
    secret_access_key: str = Field(default="", repr=False)


class Artifacts(Section):
    """Files that jobs get and leave."""

    max_bytes: int = Field(default=5 * 1024**3, gt=0)
    """Of one file."""


class Logging(Section):
    """The service's own log."""

    level: str = "info"
    """debug, info, warn or error; other words mean info."""


class Retention(Section):
    """How long things are kept."""

    jobs_days: float = Field(default=7.0, gt=0)
    artifacts_days: float = Field(default=7.0, gt=0)
    """From the beginning of its upload, also of one that a queued job names."""
    audit_days: float = Field(default=90.0, gt=0)
    agent_sessions_days: float = Field(default=30.0, gt=0)
    sweep_seconds: float = Field(default=60.0, gt=0)
