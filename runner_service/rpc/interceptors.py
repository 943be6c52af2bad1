"""What holds for every call, on the gRPC port and through the gateway alike: admission, and errors with a status.

Both wrap the handler, because only there is a context with a peer; what a method's wrapper needs is made once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio

from runner_service.domain.errors import RunnerError
from runner_service.rpc.access import Gatekeeper, current_caller, current_principal
from runner_service.rpc.auditing import Auditor
from runner_service.rpc.callers import caller_of
from runner_service.rpc.errors import status_of
from runner_service.rpc.limiter import Limiter
from runner_service.rpc.repeats import Repeats

log = logging.getLogger(__name__)

Context = Any
"""A `grpc.aio.ServicerContext`: grpcio's types leave its parameters open."""
Note = Callable[..., None]
"""Notes how a call ended: its status, then its messages."""


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Admits a call, runs it, and turns domain errors into a status that says why."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        *,
        limiter: Limiter | None = None,
        auditor: Auditor | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        """``limiter``: counts calls here; the gateway counts its own before it reads their bodies."""
        self._gatekeeper = gatekeeper
        self._limiter = limiter
        self._auditor = auditor
        self._repeats = repeats
        self._guarded: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        known = self._guarded.get(details.method)
        if known is None or known[0] is not handler:
            known = self._guarded[details.method] = (handler, self._guard(details.method, handler))
        return known[1]

    async def _admit(self, method: str, context: Context, request: Any) -> None:
        caller = caller_of(context.invocation_metadata() or (), context.peer())
        if self._limiter is not None and self._limiter.limits(method):
            standing = await self._limiter.hit(method, caller, resource=getattr(request, "runner_id", ""))
            if standing.exceeded:
                raise standing.error()
        try:
            principal, caller = await self._gatekeeper.judge(method, caller)
        except RunnerError as error:
            if self._auditor is not None and self._auditor.note_refused(
                method, caller=caller, request=request, error=error
            ):
                await self._auditor.settle()
            raise
        current_caller.set(caller)
        current_principal.set(principal)

    def _noter(self, method: str) -> Note | None:
        auditor = self._auditor
        if auditor is None or not auditor.audits(method):
            return None

        def note(status: str, *messages: Any) -> None:
            auditor.note(
                method,
                principal=current_principal.get(),
                caller=current_caller.get(),
                messages=messages,
                status=status,
            )

        return note

    def _guard(self, method: str, handler: Any) -> Any:
        admit = self._admit
        note = self._noter(method)
        settle = self._auditor.settle if self._auditor is not None and self._auditor.is_grave(method) else None

        async def unary(request: Any, context: Context) -> Any:
            try:
                await admit(method, context, request)
                if note is None:
                    return await behavior(request, context)
                try:
                    return await _noted(note, behavior(request, context), request)
                finally:
                    if settle is not None:
                        await settle()
            except Exception as error:
                await _end(method, context, error)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                await admit(method, context, request)
                if note is not None:
                    note("OK", request)
                async for message in behavior(request, context):
                    yield message
            except Exception as error:
                await _end(method, context, error)

        kinds = (
            ("unary_unary", grpc.unary_unary_rpc_method_handler, unary),
            ("unary_stream", grpc.unary_stream_rpc_method_handler, stream),
            ("stream_unary", grpc.stream_unary_rpc_method_handler, unary),
            ("stream_stream", grpc.stream_stream_rpc_method_handler, stream),
        )
        for name, make, guarded in kinds:
            behavior = getattr(handler, name)
            if behavior is not None:
                if self._repeats is not None:
                    behavior = self._repeats.wrap(method, behavior)
                return make(
                    guarded,
                    request_deserializer=handler.request_deserializer,
                    response_serializer=handler.response_serializer,
                )
        raise TypeError(f"the handler of {method} has no behavior")


async def _noted(note: Note, reply: Awaitable[Any], request: Any) -> Any:
    """Awaits the reply and notes how the call ended; one that is no error of the domain by its class."""
    try:
        answer = await reply
    except RunnerError as error:
        note(error.reason, request)
        raise
    except BaseException as error:
        note("ABORTED" if isinstance(error, grpc.aio.AbortError) else type(error).__name__, request)
        raise
    note("OK", request, answer)
    return answer


async def _end(method: str, context: Context, error: Exception) -> NoReturn:
    """Ends a call by its error. What is no error of the domain is a fault of ours: logged here, and not shown."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if not isinstance(error, RunnerError):
        log.error("%s failed", method, exc_info=error, extra={"action": "rpc_failed"})
        error = RunnerError()
    await context.abort_with_status(status_of(error))
    raise AssertionError("abort raises")
