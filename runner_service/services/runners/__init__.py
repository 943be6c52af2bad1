"""The machines that jobs run on: registry, control, status, metrics, feeds."""

from runner_service.services.runners.batch import BatchResult, Operation, RunnerBatch
from runner_service.services.runners.control import RunnerControl
from runner_service.services.runners.credentials import (
    CREDENTIAL_PREFIX,
    REGISTRATION_PREFIX,
    RunnerCredentials,
    digest_of,
)
from runner_service.services.runners.feed import FeedEnd, FeedPage, FeedQuery, RunnerFeeds
from runner_service.services.runners.metrics import RunnerMetrics
from runner_service.services.runners.monitor import Monitor
from runner_service.services.runners.registry import NewRunner, Runners, RunnerUpdate
from runner_service.services.runners.room import RunnerServices
from runner_service.services.runners.status import RunnerStatus, RunnerView

__all__ = [
    "CREDENTIAL_PREFIX",
    "REGISTRATION_PREFIX",
    "BatchResult",
    "FeedEnd",
    "FeedPage",
    "FeedQuery",
    "Monitor",
    "NewRunner",
    "Operation",
    "RunnerBatch",
    "RunnerControl",
    "RunnerCredentials",
    "RunnerFeeds",
    "RunnerMetrics",
    "RunnerServices",
    "RunnerStatus",
    "RunnerUpdate",
    "RunnerView",
    "Runners",
    "digest_of",
]
