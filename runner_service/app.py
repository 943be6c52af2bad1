"""The composition root: settings → store → services → servicers → servers; nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from gateway import AskingInterceptor, HandlerCapture
from runner_client import __version__
from runner_service.access import on_loopback, open_access
from runner_service.admission import admission
from runner_service.agent_images import make_images, open_registry
from runner_service.blobs import Bucket, BucketUnusable, open_blobs
from runner_service.config import ConfigError, Settings
from runner_service.data_directory import DataDirectoryBusy, DataDirectoryUnusable, take
from runner_service.domain.dispatch import DispatchTimes
from runner_service.domain.errors import StorageFull, StoreUnavailable
from runner_service.domain.jobs import Micros
from runner_service.domain.requests import JobDefaults
from runner_service.domain.webhooks import allowed_hosts
from runner_service.http import HttpBindError, HttpServer
from runner_service.lab import make_lab
from runner_service.local_runner import LocalRunner
from runner_service.outside import Network
from runner_service.registrations import Services, dialects, native
from runner_service.rest import rest
from runner_service.rpc.auditing import Auditor
from runner_service.rpc.interceptors import GuardInterceptor
from runner_service.rpc.limiter import Limiter
from runner_service.rpc.rate_limits import RateLimits
from runner_service.rpc.repeats import Repeats
from runner_service.rpc.server import BindError, RpcServer, ServerTls
from runner_service.running import App
from runner_service.secrets_key import SecretsKeyUnusable, load_key
from runner_service.services.agent_reports import EXPIRE_SECONDS, AgentReports
from runner_service.services.agents import AgentEvents, AgentLinks, AgentLogs, Agents, Chats
from runner_service.services.answers import Answers
from runner_service.services.artifacts import Artifacts
from runner_service.services.audit import Audit
from runner_service.services.claimer import Claimer
from runner_service.services.dispatch import Dispatch
from runner_service.services.endings import Endings
from runner_service.services.exec import Exec
from runner_service.services.gauges import Gauges
from runner_service.services.health import Health
from runner_service.services.images import Images
from runner_service.services.inputs import Inputs
from runner_service.services.job_secrets import JobSecrets
from runner_service.services.jobs import Jobs
from runner_service.services.logs import Archiver, ArchiveReader, LogIngest, LogReader, LogTails
from runner_service.services.orphans import Orphans
from runner_service.services.queues import LabSecrets
from runner_service.services.retention import Retention
from runner_service.services.runners import RunnerCredentials, RunnerServices
from runner_service.services.sealing import Sealer
from runner_service.services.secrets import Secrets
from runner_service.services.sweeping import sweep_for_ever
from runner_service.services.waiting import Waiting
from runner_service.services.webhooks import Webhooks
from runner_service.store import SchemaOutdated, SchemaTooNew, StoreUnusable, open_store
from runner_service.worker.supervisor.paths import short_socket_path

log = logging.getLogger(__name__)

REVOKED_SECONDS = 5.0
"""After which a server knows what another one has revoked."""


CANNOT_SERVE = (
    BucketUnusable,
    ConfigError,
    DataDirectoryBusy,
    DataDirectoryUnusable,
    SecretsKeyUnusable,
    BindError,
    HttpBindError,
    SchemaOutdated,
    SchemaTooNew,
    StorageFull,
    StoreUnavailable,
    StoreUnusable,
)
"""What `open_app` raises when it cannot serve; each message says why and what to do."""


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> Micros:
        return time.time_ns() // 1000


@asynccontextmanager
async def open_app(settings: Settings) -> AsyncIterator[App]:
    """Opens everything in order; leaving the context closes what `App.stop` has not, in the reverse order.

    Raises one of `CANNOT_SERVE` when it cannot.
    """
    async with AsyncExitStack() as stack:
        data_dir = settings.data_dir.expanduser().absolute()
        take(stack, data_dir)
        store = await stack.enter_async_context(
            open_store(settings.store.url or f"sqlite:///{data_dir}/runner.db", migrate=settings.store.migrate)
        )
        blobs = await open_blobs(Bucket(**settings.blobs.model_dump()), data_dir / "blobs")
        signals, clock, times = store.signals, SystemClock(), _times(settings)
        tails, endings = LogTails(), Endings()

        sealer = Sealer(_secrets_key(settings, data_dir))
        secrets = Secrets(store=store.secrets, sealer=sealer)
        lab_secrets = LabSecrets(store=store.lab_secrets, sealer=sealer, clock=clock)
        artifacts = Artifacts(
            store=store.artifacts,
            jobs=store.jobs,
            blobs=blobs,
            max_bytes=settings.artifacts.max_bytes,
            keep_seconds=settings.retention.artifacts_days * 86_400,
        )
        jobs = Jobs(
            store=store.jobs,
            signals=signals,
            endings=endings,
            defaults=_defaults(settings),
            secrets=secrets,
            artifacts=artifacts,
        )
        archive = ArchiveReader(store=store.logs, blobs=blobs)
        reader = LogReader(jobs=store.jobs, store=store.logs, archive=archive, signals=signals, tails=tails)
        runners = RunnerServices.over(
            store.runners,
            store.runner_feed,
            store.samples,
            store.answers,
            RunnerCredentials(
                store=store.worker_credentials,
                sealer=sealer,
                life_seconds=settings.security.worker_credential_hours * 3600,
            ),
            signals=signals,
            clock=clock,
            jobs=jobs,
            reader=reader,
        )
        claimer = Claimer(store=store.dispatch, signals=signals)
        gauges = Gauges(agents=store.agents, signals=signals)
        dispatch = Dispatch(
            store=store.dispatch,
            signals=signals,
            claimer=claimer,
            tails=tails,
            endings=endings,
            times=times,
            secrets=JobSecrets(secrets, lab_secrets),
            gauges=gauges,
            listener=runners.monitor,
        )
        ingest = LogIngest(store=store.logs, signals=signals, tails=tails)
        inputs = Inputs(store=store.inputs, jobs=store.jobs, signals=signals)
        registry = open_registry(settings, stack)
        images = Images(store=store.images, blobs=blobs, remote=registry)
        links = AgentLinks(store=store.agents, images=images, reader=reader, stdin=inputs, signals=signals)
        agents = Agents(store=store.agents, jobs=jobs, images=images, links=links, signals=signals)
        chats = Chats(
            store=store.agents,
            links=links,
            signals=signals,
            clock=clock,
            silence_seconds=settings.agents.silence_seconds,
        )
        health = Health(jobs=store.jobs, clock=clock, version=__version__)
        lab = make_lab(
            settings,
            store=store,
            blobs=blobs,
            jobs=jobs,
            reader=reader,
            artifacts=artifacts,
            signals=signals,
            tails=tails,
            clock=clock,
            secrets=lab_secrets,
        )
        access = await open_access(settings, store=store, clock=clock, secrets=data_dir / "secrets", sealer=sealer)

        webhooks = Webhooks(
            outside=Network(),
            allowed=allowed_hosts(settings.webhooks.allowed_hosts),
            on_loopback=on_loopback(settings),
            timeout_seconds=settings.webhooks.timeout_seconds,
        )

        audit = Audit(
            store=store.audit,
            clock=clock,
            keep_seconds=settings.retention.audit_days * 86_400,
            sweep_seconds=settings.retention.sweep_seconds,
        )

        reports = AgentReports(
            store=store.agent_reports,
            signals=signals,
            clock=clock,
            default_ttl_minutes=settings.kubeagents.default_ttl_minutes,
            history=settings.kubeagents.history_per_session,
            keep_seconds=settings.retention.agent_sessions_days * 86_400,
        )

        services = Services(  # what servicers are made from
            jobs=jobs,
            waiting=Waiting(jobs=store.jobs, runners=store.runners, clock=clock),
            runners=runners,
            dispatch=dispatch,
            reader=reader,
            ingest=ingest,
            inputs=inputs,
            secrets=secrets,
            artifacts=artifacts,
            exec=Exec(reader=reader, inputs=inputs, signals=signals),
            images=images,
            agents=agents,
            chats=chats,
            agent_events=AgentEvents(store=store.agents, jobs=store.jobs, signals=signals, clock=clock),
            agent_logs=AgentLogs(store=store.agents, logs=store.logs, reader=reader),
            health=health,
            access=access,
            webhooks=webhooks,
            audit=audit,
            agent_reports=reports,
            lab=lab,
            settings=settings,
        )
        registrations = [*native(services), *dialects(services)]
        handlers = HandlerCapture()
        for register in registrations:
            register(handlers)
        names = handlers.services()
        gatekeeper = access.gatekeeper(settings, names)
        limiter = Limiter(limits=RateLimits(settings.rate_limits.model_dump(), clock=clock), gatekeeper=gatekeeper)
        auditor = Auditor(audit=audit, rules=gatekeeper.rules)
        kept = settings.retention.jobs_days * 86_400
        answers = Answers(store=store.answers, sealer=sealer, clock=clock, keep_seconds=kept)
        repeats = Repeats(answers=answers, rules=gatekeeper.rules)
        rpc = RpcServer(
            registrations=registrations,
            services=names,
            interceptors=[
                GuardInterceptor(gatekeeper, limiter=limiter, auditor=auditor, repeats=repeats),
                AskingInterceptor(),  # for gateways of other processes
            ],
        )
        rpc.add_health(handlers)  # after the names were read: it bears no options of ours
        gateway = rest(
            handlers,
            settings=settings,
            admission=admission(limiter),
            # Calls are counted by the admission.
            interceptor=GuardInterceptor(gatekeeper, auditor=auditor, repeats=repeats),
        )
        tls = _tls(settings)
        http = HttpServer(gateway, tls=tls)

        socket = short_socket_path(str(data_dir / "run" / "grpc.sock"))
        await rpc.listen(f"unix:{socket}")
        grpc_port = await rpc.listen(settings.server.grpc, tls=tls)
        bound = [await http.listen(address) for address in settings.server.http_addresses]

        await make_images(settings, images)

        # Before any worker can be heard: the time that the server was away is nobody's fault.
        if not store.shared:
            await store.dispatch.renew_leases(lease_seconds=times.lease)
            await store.queues.renew_all()
        local = None
        if settings.executor.local_runner:
            runners.status.await_local()
            local = LocalRunner(
                data_dir=data_dir,
                server=f"unix:{socket}",
                slots=settings.executor.max_concurrent_jobs,
                log_level=settings.logging.level,
                queues=settings.executor.queues,
                containers=settings.executor.containers,
                job_limits={
                    "cpus": settings.executor.job_cpus,
                    "memory": settings.executor.job_memory_bytes,
                    "processes": settings.executor.job_processes,
                },
            )
        archiver = Archiver(store=store.logs, blobs=blobs)
        retention = Retention(
            jobs=store.jobs,
            blobs=blobs,
            clock=clock,
            keep_seconds=kept,
            sweep_seconds=settings.retention.sweep_seconds,
        )
        loops = [
            claimer.run(),
            dispatch.sweep(),
            runners.control.run(),
            runners.monitor.run(),
            archiver.run(),
            retention.run(),
            links.run(),
            audit.run(),
        ]
        sweep = settings.retention.sweep_seconds
        loops.append(Orphans(owners=store.blobs, blobs=blobs, first_seconds=sweep).run())
        loops.append(sweep_for_ever("artifacts", artifacts.sweep, seconds=sweep))
        loops.append(sweep_for_ever("agent reports", reports.sweep, seconds=sweep))
        loops.append(sweep_for_ever("sessions of reports", reports.expire, seconds=EXPIRE_SECONDS))
        loops.append(sweep_for_ever("refresh tokens", access.refresh_tokens.sweep, seconds=sweep))
        if store.shared:
            loops.append(sweep_for_ever("revoked tokens", access.refresh_tokens.load, seconds=REVOKED_SECONDS))
        loops.append(sweep_for_ever("answers", answers.sweep, seconds=sweep))
        loops += lab.loops()
        if store.shared:
            loops.append(rpc.watch(lambda: store.reachable))
        await stack.enter_async_context(_background([*loops, *([local.run()] if local is not None else [])]))
        await rpc.start()
        stack.push_async_callback(rpc.stop, 0)
        await http.start()
        stack.push_async_callback(http.stop, grace=0)

        app = App(
            settings=settings,
            jobs=jobs,
            claimer=claimer,
            dispatch=dispatch,
            rpc=rpc,
            gateway=gateway,
            http=http,
            local=local,
        )
        app.http_addresses = bound
        app.grpc_address = f"{settings.server.grpc.rpartition(':')[0]}:{grpc_port}"
        yield app


@asynccontextmanager
async def _background(loops: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _defaults(settings: Settings) -> JobDefaults:
    return JobDefaults(
        timeout_seconds=settings.executor.default_timeout_seconds,
        kill_grace_seconds=settings.executor.kill_grace_seconds,
        queue_limit=settings.executor.max_queued_jobs,
    )


def _secrets_key(settings: Settings, data_dir: Path) -> bytes:
    given = settings.security.secrets_key_file
    return load_key(Path(given), make=False) if given else load_key(data_dir / "secrets" / "key")


def _tls(settings: Settings) -> ServerTls | None:
    tls = settings.security.tls
    if not tls.enabled:
        return None
    return ServerTls(Path(tls.cert_file), Path(tls.key_file), Path(tls.client_ca_file) if tls.client_ca_file else None)


def _times(settings: Settings) -> DispatchTimes:
    numbers = settings.dispatch
    return DispatchTimes(
        lease=numbers.lease_seconds,
        park_idle=numbers.park_idle_seconds,
        park_busy=numbers.park_busy_seconds,
        confirm=numbers.confirm_seconds,
        kill_budget=numbers.kill_budget_seconds,
    )
