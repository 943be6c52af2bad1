"""Which servicer serves what, on both ports: the second half of the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.dialects.common.v1 import health_service_pb2_grpc, page_service_pb2_grpc
from runner.dialects.kubeagents.v1 import agent_service_pb2_grpc as kubeagents_pb2_grpc
from runner.dialects.rustci.v1 import runner_service_pb2_grpc as rustci_pb2_grpc
from runner.dialects.sct.v1 import command_service_pb2_grpc as sct_pb2_grpc
from runner.dialects.sentinelstacks.v1 import agent_service_pb2_grpc as sentinel_agents_pb2_grpc
from runner.dialects.sentinelstacks.v1 import auth_service_pb2_grpc as sentinel_auth_pb2_grpc
from runner.dialects.sentinelstacks.v1 import health_service_pb2_grpc as sentinel_health_pb2_grpc
from runner.dialects.sentinelstacks.v1 import image_service_pb2_grpc as sentinel_images_pb2_grpc
from runner.dialects.testflinger.v1 import access_service_pb2_grpc as testflinger_access_pb2_grpc
from runner.dialects.testflinger.v1 import agent_service_pb2_grpc as testflinger_agent_pb2_grpc
from runner.dialects.testflinger.v1 import job_service_pb2_grpc as testflinger_job_pb2_grpc
from runner.dialects.testflinger.v1 import queue_service_pb2_grpc as testflinger_queue_pb2_grpc
from runner.dialects.testflinger.v1 import result_service_pb2_grpc as testflinger_result_pb2_grpc
from runner.v1 import (
    agent_report_service_pb2_grpc,
    agent_service_pb2_grpc,
    artifact_service_pb2_grpc,
    auth_service_pb2_grpc,
    command_service_pb2_grpc,
    dispatch_service_pb2_grpc,
    image_service_pb2_grpc,
    job_service_pb2_grpc,
    log_stream_service_pb2_grpc,
    queue_service_pb2_grpc,
    runner_service_pb2_grpc,
    secret_service_pb2_grpc,
)
from runner_client import __version__
from runner_service.access import Access
from runner_service.config import Settings
from runner_service.dialects.common import HealthServicer
from runner_service.dialects.kubeagents import KubeAgentServicer
from runner_service.dialects.pages import PageServicer
from runner_service.dialects.rustci import RustCiRunnerServicer
from runner_service.dialects.sct import SctCommandServicer
from runner_service.dialects.sentinelstacks import (
    SentinelAgentServicer,
    SentinelAuthServicer,
    SentinelHealthServicer,
    SentinelImageServicer,
)
from runner_service.dialects.testflinger import (
    Callers,
    TestflingerAccessServicer,
    TestflingerAgentServicer,
    TestflingerJobServicer,
    TestflingerQueueServicer,
    TestflingerResultServicer,
)
from runner_service.lab import Lab
from runner_service.pages import load_pages
from runner_service.rpc.agent_reports import AgentReportServicer
from runner_service.rpc.agents import AgentServicer
from runner_service.rpc.artifacts import ArtifactServicer
from runner_service.rpc.auth import AuthServicer
from runner_service.rpc.commands import CommandServicer
from runner_service.rpc.dispatch import DispatchServicer
from runner_service.rpc.images import ImageServicer
from runner_service.rpc.jobs import JobServicer
from runner_service.rpc.logs import LogStreamServicer
from runner_service.rpc.queues import QueueServicer
from runner_service.rpc.runners import RunnerServicer
from runner_service.rpc.secrets import SecretServicer
from runner_service.rpc.server import Registration
from runner_service.services.agent_reports import AgentReports
from runner_service.services.agents import AgentEvents, AgentLogs, Agents, Chats
from runner_service.services.artifacts import Artifacts
from runner_service.services.audit import Audit
from runner_service.services.dispatch import Dispatch
from runner_service.services.exec import Exec
from runner_service.services.health import Health
from runner_service.services.images import Images
from runner_service.services.inputs import Inputs
from runner_service.services.jobs import Jobs
from runner_service.services.logs import LogIngest, LogReader
from runner_service.services.runners import RunnerServices
from runner_service.services.secrets import Secrets
from runner_service.services.waiting import Waiting
from runner_service.services.webhooks import Webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What servicers are made from."""

    jobs: Jobs
    waiting: Waiting
    runners: RunnerServices
    dispatch: Dispatch
    reader: LogReader
    ingest: LogIngest
    inputs: Inputs
    secrets: Secrets
    artifacts: Artifacts
    exec: Exec
    images: Images
    agents: Agents
    chats: Chats
    agent_events: AgentEvents
    agent_logs: AgentLogs
    health: Health
    access: Access
    webhooks: Webhooks
    audit: Audit
    agent_reports: AgentReports
    lab: Lab
    settings: Settings


def native(services: Services) -> list[Registration]:
    """The servicers of ``runner.v1``."""
    return [
        _adds(
            command_service_pb2_grpc.add_CommandServiceServicer_to_server, CommandServicer(services.jobs, services.exec)
        ),
        _adds(secret_service_pb2_grpc.add_SecretServiceServicer_to_server, SecretServicer(services.secrets)),
        _adds(artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server, ArtifactServicer(services.artifacts)),
        _adds(
            job_service_pb2_grpc.add_JobServiceServicer_to_server,
            JobServicer(services.jobs, services.inputs, services.waiting),
        ),
        _adds(runner_service_pb2_grpc.add_RunnerServiceServicer_to_server, _runners(services.runners)),
        _adds(log_stream_service_pb2_grpc.add_LogStreamServiceServicer_to_server, LogStreamServicer(services.reader)),
        _adds(
            dispatch_service_pb2_grpc.add_DispatchServiceServicer_to_server,
            DispatchServicer(
                services.dispatch, services.ingest, services.inputs, services.artifacts, services.runners.credentials
            ),
        ),
        _adds(
            auth_service_pb2_grpc.add_AuthServiceServicer_to_server,
            AuthServicer(services.access.api_keys, services.audit),
        ),
        _adds(
            queue_service_pb2_grpc.add_QueueServiceServicer_to_server,
            QueueServicer(queues=services.lab.queues, records=services.lab.records, agents=services.lab.agents),
        ),
        *_agents(services),
        _adds(
            agent_report_service_pb2_grpc.add_AgentReportServiceServicer_to_server,
            AgentReportServicer(services.agent_reports),
        ),
    ]


def _agents(services: Services) -> list[Registration]:
    agents = AgentServicer(
        agents=services.agents, chats=services.chats, events=services.agent_events, logs=services.agent_logs
    )
    return [
        _adds(agent_service_pb2_grpc.add_AgentServiceServicer_to_server, agents),
        _adds(image_service_pb2_grpc.add_ImageServiceServicer_to_server, ImageServicer(services.images)),
    ]


def _runners(services: RunnerServices) -> RunnerServicer:
    return RunnerServicer(
        runners=services.registry,
        control=services.control,
        status=services.status,
        metrics=services.metrics,
        feeds=services.feeds,
        batch=services.batch,
        credentials=services.credentials,
    )


def dialects(services: Services) -> list[Registration]:
    """The façades, a function each."""
    return [
        *_common(services),
        *_sct(services),
        *_kubeagents(services),
        *_rustci(services),
        *_sentinel(services),
        *_testflinger(services),
    ]


def _common(services: Services) -> list[Registration]:
    return [
        _adds(health_service_pb2_grpc.add_HealthServiceServicer_to_server, HealthServicer(services.health)),
        _adds(
            page_service_pb2_grpc.add_PageServiceServicer_to_server,
            PageServicer(load_pages(), at_root=services.settings.testflinger.era == "today"),
        ),
    ]


def _kubeagents(services: Services) -> list[Registration]:
    servicer = KubeAgentServicer(services.agent_reports)
    return [_adds(kubeagents_pb2_grpc.add_AgentServiceServicer_to_server, servicer)]


def _rustci(services: Services) -> list[Registration]:
    servicer = RustCiRunnerServicer(runners=services.runners, jobs=services.jobs)
    return [_adds(rustci_pb2_grpc.add_RunnerServiceServicer_to_server, servicer)]


def _sct(services: Services) -> list[Registration]:
    servicer = SctCommandServicer(
        jobs=services.jobs,
        logs=services.reader,
        working_directory=services.settings.executor.working_directory,
        max_output_bytes=services.settings.sct.max_output_bytes,
    )
    return [_adds(sct_pb2_grpc.add_CommandServiceServicer_to_server, servicer)]


def _sentinel(services: Services) -> list[Registration]:
    agents = SentinelAgentServicer(
        agents=services.agents, chats=services.chats, events=services.agent_events, logs=services.agent_logs
    )
    images, login = SentinelImageServicer(services.images), SentinelAuthServicer(services.access.logins)
    return [
        _adds(sentinel_agents_pb2_grpc.add_AgentServiceServicer_to_server, agents),
        _adds(sentinel_images_pb2_grpc.add_ImageServiceServicer_to_server, images),
        _adds(sentinel_auth_pb2_grpc.add_AuthServiceServicer_to_server, login),
        _adds(sentinel_health_pb2_grpc.add_HealthServiceServicer_to_server, SentinelHealthServicer()),
    ]


def _testflinger(services: Services) -> list[Registration]:
    lab, access, settings = services.lab, services.access, services.settings.testflinger
    callers = Callers(clients=access.clients, era=settings.era, anonymous_agents=settings.anonymous_agents)
    return [
        _adds(
            testflinger_job_pb2_grpc.add_JobServiceServicer_to_server,
            TestflingerJobServicer(
                queues=lab.queues,
                records=lab.records,
                callers=callers,
                webhooks=services.webhooks,
                version=__version__,
            ),
        ),
        _adds(
            testflinger_result_pb2_grpc.add_ResultServiceServicer_to_server,
            TestflingerResultServicer(queues=lab.queues, records=lab.records, callers=callers, clock=lab.clock),
        ),
        _adds(
            testflinger_agent_pb2_grpc.add_AgentServiceServicer_to_server,
            TestflingerAgentServicer(agents=lab.agents, queues=lab.queues, callers=callers),
        ),
        _adds(
            testflinger_queue_pb2_grpc.add_QueueServiceServicer_to_server,
            TestflingerQueueServicer(
                queues=lab.queues, records=lab.records, agents=lab.agents, clients=access.clients, callers=callers
            ),
        ),
        _adds(
            testflinger_access_pb2_grpc.add_AccessServiceServicer_to_server,
            TestflingerAccessServicer(
                clients=access.clients,
                refresh_tokens=access.refresh_tokens,
                callers=callers,
                secrets=lab.secrets,
                era=settings.era,
            ),
        ),
    ]


def _adds(add: Callable[[Any, Any], None], servicer: object) -> Registration:
    return lambda server: add(servicer, server)
