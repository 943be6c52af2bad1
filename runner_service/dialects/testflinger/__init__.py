"""Testflinger's API in both eras of its clients, for agents and people at the same time."""

from __future__ import annotations

from runner_service.dialects.testflinger.access import TestflingerAccessServicer
from runner_service.dialects.testflinger.agents import TestflingerAgentServicer
from runner_service.dialects.testflinger.callers import Callers
from runner_service.dialects.testflinger.jobs import TestflingerJobServicer
from runner_service.dialects.testflinger.queues import TestflingerQueueServicer
from runner_service.dialects.testflinger.results import TestflingerResultServicer

__all__ = [
    "Callers",
    "TestflingerAccessServicer",
    "TestflingerAgentServicer",
    "TestflingerJobServicer",
    "TestflingerQueueServicer",
    "TestflingerResultServicer",
]
