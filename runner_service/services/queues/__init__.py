"""Lab queues: pushing and popping jobs, what agents post about them, the agents, and who may push where."""

from __future__ import annotations

from runner_service.services.queues.agents import LabAgents
from runner_service.services.queues.definition import (
    PhaseCommands,
    Submission,
    read_definition,
    seconds_of,
    without_secrets,
)
from runner_service.services.queues.ours import OwnAttempts
from runner_service.services.queues.overview import QueueInfo, list_queues
from runner_service.services.queues.permissions import RANKS, Permissions, check_push
from runner_service.services.queues.queues import AgentIdentity, LabTimes, Queues
from runner_service.services.queues.records import LabRecords
from runner_service.services.queues.secrets import LabSecrets

__all__ = [
    "RANKS",
    "AgentIdentity",
    "LabAgents",
    "LabRecords",
    "LabSecrets",
    "LabTimes",
    "OwnAttempts",
    "Permissions",
    "PhaseCommands",
    "QueueInfo",
    "Queues",
    "Submission",
    "check_push",
    "list_queues",
    "read_definition",
    "seconds_of",
    "without_secrets",
]
