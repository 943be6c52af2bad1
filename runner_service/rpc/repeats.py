"""Calls that bear a request id: repeated, they get the answer that they got before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from hashlib import sha256
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from runner_service.ports.store import AnswerKey, Mark
from runner_service.rpc.access import Rule, current_principal
from runner_service.services.answers import Answers, Asked, Kind

Behavior = Callable[[Any, Any], Awaitable[Any]]

OF_THEIR_OWN = frozenset(
    {
        # The id is stored in one transaction with what it makes.
        "/runner.v1.CommandService/RunCommand",
        "/runner.v1.JobService/CreateJob",
        "/runner.v1.JobService/RetryJob",
        "/runner.v1.AgentService/CreateAgent",
        "/runner.v1.ArtifactService/UploadArtifact",
    }
)
KINDS = {
    "/runner.v1.AuthService/CreateApiKey": Kind.SECRET,
    "/runner.v1.RunnerService/RegisterRunner": Kind.SECRET,
    "/runner.v1.AgentService/DeleteAgent": Kind.LEAVING,
    "/runner.v1.ArtifactService/DeleteArtifact": Kind.LEAVING,
    "/runner.v1.ImageService/DeleteImage": Kind.LEAVING,
    "/runner.v1.SecretService/DeleteSecret": Kind.LEAVING,
}
"""What answers are like that are not plain."""

current_mark: ContextVar[Mark | None] = ContextVar("current_mark", default=None)
"""What says in the store that the request under way was carried out; None: it bears no id."""


class Repeats:
    """Knows which RPCs can be repeated: all whose request has a ``request_id``."""

    def __init__(self, *, answers: Answers, rules: Mapping[str, Rule]) -> None:
        self._answers = answers
        self._responses = {
            method: GetMessageClass(found.output_type)
            for method in rules
            if method not in OF_THEIR_OWN and (found := _repeatable(method)) is not None
        }

    @property
    def methods(self) -> frozenset[str]:
        return frozenset(self._responses)

    def wrap(self, method: str, behavior: Behavior) -> Behavior:
        """The behavior of a method, or what carries it out once for each request id."""
        response = self._responses.get(method)
        if response is None:
            return behavior
        answers, kind = self._answers, KINDS.get(method, Kind.PLAIN)

        async def once(request: Any, context: Any) -> Any:
            if not request.request_id:
                return await behavior(request, context)
            made: list[Any] = []

            async def act(mark: Mark) -> bytes:
                token = current_mark.set(mark)
                try:
                    made.append(await behavior(request, context))
                finally:
                    current_mark.reset(token)
                return bytes(made[0].SerializeToString())

            key = AnswerKey(current_principal.get().name, method, request.request_id)
            answer = await answers.once(Asked(key, _content(request), kind), act)
            return made[0] if made else response.FromString(answer)

        return once


def key_of(request_id: str) -> str:
    """A name for one request of the caller, for what is made or taken by it: 64 digits of base 16."""
    return sha256(f"{current_principal.get().name}\0{request_id}".encode()).hexdigest()


def _repeatable(method: str) -> MethodDescriptor | None:
    service, _, name = method[1:].rpartition("/")
    if not service.startswith("runner.v1."):
        return None
    found: MethodDescriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    unary = not (found.client_streaming or found.server_streaming)
    return found if unary and "request_id" in found.input_type.fields_by_name else None


def _content(request: Any) -> bytes:
    rest = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("request_id")
    return bytes(rest.SerializeToString(deterministic=True))
