"""Testflinger's agent endpoints: translate, call a service, translate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from google.api import httpbody_pb2

from runner.dialects.testflinger.v1 import agent_service_pb2 as pb
from runner.dialects.testflinger.v1 import agent_service_pb2_grpc, shared_pb2
from runner_service.dialects.testflinger import schemas, words
from runner_service.dialects.testflinger.callers import ADMIN, AGENT, MANAGER, PEOPLE, Callers, LabCaller
from runner_service.dialects.testflinger.errors import Forbidden, MissingAgent, MissingText, ValidationFailed
from runner_service.domain.errors import LabAgentNotFound
from runner_service.domain.json_text import members_of, mend_continued_lines, object_of, parse, text_of
from runner_service.domain.queues import LabAgent, ProvisionLog
from runner_service.services.queues import LabAgents, Queues

_OK = shared_pb2.Text(text=words.OK)
_KNOWN = frozenset(schemas.Agent().fields)
_OURS = frozenset({"name", "updated_at", "provision_streak_type", "provision_streak_count", "restricted_to"})
"""Members that the service adds when it shows an agent."""


class TestflingerAgentServicer(agent_service_pb2_grpc.AgentServiceServicer):
    """Agents, and the queues and images that they advertise."""

    __test__ = False

    def __init__(self, *, agents: LabAgents, queues: Queues, callers: Callers) -> None:
        self._agents = agents
        self._queues = queues
        self._callers = callers

    async def PostQueues(self, request: pb.JsonRequest, context: Any) -> shared_pb2.Text:
        caller = self._callers.of(request.caller).demand(AGENT, MANAGER, ADMIN)
        queues = _object(request.json)
        for name, description in queues.items():
            if not isinstance(description, str):
                raise ValidationFailed("json", {"_schema": [f"Description for queue '{name}' must be a string"]})
        await self._agents.advertise(queues)
        await self._queues.alive(caller.agent)
        return _OK

    async def GetQueues(self, request: pb.GetQueuesRequest, context: Any) -> pb.GetQueuesResponse:
        self._callers.of().demand(*PEOPLE)
        return pb.GetQueuesResponse(queues=await self._agents.advertised())

    async def PostImages(self, request: pb.JsonRequest, context: Any) -> shared_pb2.Text:
        caller = self._callers.of(request.caller).demand(AGENT, MANAGER, ADMIN)
        for name, images in _object(request.json).items():
            if not isinstance(images, dict):
                raise ValidationFailed("json", {"_schema": [f"Images for queue '{name}' must be an object"]})
        await self._agents.set_images(members_of(request.json.decode() or "{}"))
        await self._queues.alive(caller.agent)
        return _OK

    async def GetImages(self, request: pb.GetImagesRequest, context: Any) -> shared_pb2.Json:
        self._callers.of().demand(*PEOPLE)
        return shared_pb2.Json(json=(await self._agents.images(request.queue)).encode())

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Any) -> shared_pb2.Json:
        self._callers.of().demand(*PEOPLE)
        restricted = await self._agents.restricted()
        agents = [shown(agent, restricted) for agent in await self._agents.list()]
        return shared_pb2.Json(json=f"[{','.join(agents)}]".encode())

    async def PostAgent(self, request: pb.AgentJsonRequest, context: Any) -> httpbody_pb2.HttpBody:
        caller = self._callers.of(request.caller).demand(AGENT, MANAGER, ADMIN)
        _check_name(caller, request.agent_name)
        text, posted = schemas.check_text(schemas.Agent, request.json)
        posted = {name: value for name, value in posted.items() if name in _KNOWN}
        extra = {name: value for name, value in members_of(text).items() if name not in _KNOWN | _OURS}
        log: Sequence[str] = posted.pop("log", ())
        if "queues" in posted:
            posted["queues"] = tuple(posted["queues"])
        client_id = caller.permissions.client_id if caller.bound else ""
        await self._agents.post(request.agent_name, posted, log=log, client_id=client_id, extra=extra)
        cookie = f"agent_name={quote(request.agent_name)}; HttpOnly; Path=/; SameSite=Strict"
        await context.send_initial_metadata((("x-http-header-set-cookie", cookie),))
        if caller.today:
            return httpbody_pb2.HttpBody(content_type=words.JSON, data=b'{"status":"OK"}\n')
        return httpbody_pb2.HttpBody(content_type=words.TEXT, data=words.OK.encode())

    async def GetAgent(self, request: pb.GetAgentRequest, context: Any) -> shared_pb2.Json:
        caller = self._callers.of(request.caller)
        try:
            agent = await self._agents.get(request.agent_name)
        except LabAgentNotFound:
            raise MissingAgent() from None
        if caller.agent == agent.name:
            # It obeys what it reads here: that it was thought lost is no order to stay away.
            agent = replace(agent, lost=False)
            await self._queues.renew(agent.job_id, agent=agent.name)
        return shared_pb2.Json(json=shown(agent, await self._agents.restricted()).encode())

    async def PostProvisionLog(self, request: pb.PostProvisionLogRequest, context: Any) -> shared_pb2.Text:
        caller = self._callers.of(request.caller).demand(AGENT)
        _check_name(caller, request.agent_name)
        posted = schemas.check(schemas.ProvisionLog, _mended(request.body))
        if self._callers.only_today:
            try:
                await self._agents.get(request.agent_name)
            except LabAgentNotFound:
                raise MissingText("Agent not found\n") from None
        entry = ProvisionLog(job_id=posted["job_id"], exit_code=posted["exit_code"], detail=posted.get("detail", ""))
        await self._agents.add_provision_log(request.agent_name, entry)
        job_id = words.job_id(entry.job_id)
        if job_id is not None:
            await self._queues.renew(job_id, agent=request.agent_name)
        return _OK


def shown(agent: LabAgent, restricted: Mapping[str, Sequence[str]]) -> str:
    """An agent as lists show it, as JSON text: with what it said beyond what is known, as it came."""
    members = {
        "name": agent.name,
        "state": agent.shown_state,
        "queues": agent.queues,
        "location": agent.location,
        "provision_type": agent.provision_type,
        "job_id": agent.job_id,
        "identifier": agent.identifier,
        "updated_at": words.time(agent.updated_at),
        "provision_streak_type": agent.streak_type,
        "provision_streak_count": agent.streak_count,
        "comment": agent.comment,
        "restricted_to": {queue: list(restricted[queue]) for queue in agent.queues if queue in restricted},
    }
    return object_of({**members_of(agent.extra), **{name: text_of(value) for name, value in members.items()}})


def _check_name(caller: LabCaller, name: str) -> None:
    """An agent with a token speaks for itself alone."""
    if caller.bound and caller.agent not in ("", name):
        raise Forbidden(f"The agent {caller.agent} cannot post for the agent {name}")


def _object(body: bytes) -> dict[str, Any]:
    value = parse(body.decode() or "{}")
    if not isinstance(value, dict):
        raise ValidationFailed("json", {"_schema": ["Invalid input type."]})
    return value


def _mended(body: bytes) -> Any:
    """The body's value; one that is no JSON gets a second chance, and counts as {} then."""
    text = body.decode("utf-8", "replace")
    for attempt in (text, mend_continued_lines(text)):
        try:
            return parse(attempt)
        except (ValueError, RecursionError):
            continue
    return {}
