"""The tables. One row per fact; what is filtered or sorted on is a column, the rest is compact JSON.

A job is two rows: ``jobs`` holds what changes and what is searched, ``job_bodies`` what was asked for and never
changes. So the four moves of a job's life rewrite 200 bytes each, whatever the size of its argument vector.

Times are integer microseconds. Text that is ordered is compared byte by byte on both engines.
"""

from __future__ import annotations

from runner_service.store.schema.agent_reports import agent_reports, report_numbers, report_sessions, reported_agents
from runner_service.store.schema.agents import agents
from runner_service.store.schema.answers import answers
from runner_service.store.schema.artifacts import artifact_parts, artifacts
from runner_service.store.schema.audit import audit_entries
from runner_service.store.schema.base import REVISION, metadata
from runner_service.store.schema.credentials import api_keys, clients, refresh_tokens
from runner_service.store.schema.images import image_tags, images
from runner_service.store.schema.inputs import input_records, input_writers, inputs
from runner_service.store.schema.jobs import attempts, job_bodies, job_events, job_tags, jobs, queue_changes, requests
from runner_service.store.schema.lab_secrets import lab_secrets
from runner_service.store.schema.logs import log_archives, log_chunks
from runner_service.store.schema.queues import (
    lab_agents,
    lab_files,
    lab_output,
    lab_provision_logs,
    lab_queue_owners,
    lab_queues,
    lab_readers,
    lab_records,
    lab_results,
    queue_jobs,
)
from runner_service.store.schema.runners import (
    runner_checks,
    runner_events,
    runner_feed,
    runner_feed_heads,
    runner_feed_logs,
    runner_profiles,
    runner_samples,
    runner_tags,
    runners,
    worker_credentials,
)
from runner_service.store.schema.secrets import secrets

FIRST_ROWS = {report_numbers: [{"id": 1, "last": 0}]}
"""What an empty database begins with."""

__all__ = [
    "FIRST_ROWS",
    "REVISION",
    "agent_reports",
    "agents",
    "answers",
    "api_keys",
    "artifact_parts",
    "artifacts",
    "attempts",
    "audit_entries",
    "clients",
    "image_tags",
    "images",
    "input_records",
    "input_writers",
    "inputs",
    "job_bodies",
    "job_events",
    "job_tags",
    "jobs",
    "lab_agents",
    "lab_files",
    "lab_output",
    "lab_provision_logs",
    "lab_queue_owners",
    "lab_queues",
    "lab_readers",
    "lab_records",
    "lab_results",
    "lab_secrets",
    "log_archives",
    "log_chunks",
    "metadata",
    "queue_changes",
    "queue_jobs",
    "refresh_tokens",
    "report_numbers",
    "report_sessions",
    "reported_agents",
    "requests",
    "runner_checks",
    "runner_events",
    "runner_feed",
    "runner_feed_heads",
    "runner_feed_logs",
    "runner_profiles",
    "runner_samples",
    "runner_tags",
    "runners",
    "secrets",
    "worker_credentials",
]
