"""Descriptors of services that are not compiled into this process: from a descriptor set, or by gRPC reflection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import aio
from grpc_reflection.v1alpha import reflection_pb2

_OWN_PREFIXES = ("grpc.reflection.", "grpc.health.")
# The two versions differ in their package alone. Today's servers know v1, grpcio's own and older ones v1alpha.
_VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")


class ReflectionError(Exception):
    """The server does not tell what it serves; the text says why."""


def pool_of(descriptor_set: bytes) -> tuple[DescriptorPool, list[str]]:
    """A pool of a serialized FileDescriptorSet (with all imports), and the names of its services.

    Raises ``DecodeError`` of protobuf for other bytes.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file
    pool = _pool({file.name: file for file in files})
    return pool, [f"{file.package}.{service.name}".lstrip(".") for file in files for service in file.service]


async def reflected(channel: aio.Channel, services: Iterable[str] = ()) -> tuple[DescriptorPool, list[str]]:
    """A pool of what a server says of itself, and the names of its services.

    ``services`` are those that are wanted; all but health and reflection by default. Raises ``ReflectionError``.
    """
    wanted = list(services)
    for version in _VERSIONS:
        try:
            return await _Conversation(channel, version).pool(wanted)
        except aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                # gRPC names each layer that failed; the innermost says it all.
                why = (error.details() or "").rsplit(": ", 1)[-1]
                raise ReflectionError(
                    f"the server can't be asked what it serves: {error.code().name} ({why})"
                ) from error
    raise ReflectionError("the server has no reflection")


class _Conversation:
    """Questions to a server that speaks one version of reflection.

    Each is a call of its own, which ends with its only message, though the method takes many: a server that refuses a
    call whose messages are written one by one is heard as INTERNAL now and then by grpc.aio, whose write came too late.
    """

    def __init__(self, channel: aio.Channel, version: str) -> None:
        self._start: Any = channel.unary_stream(
            f"/{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        self._files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    async def pool(self, wanted: list[str]) -> tuple[DescriptorPool, list[str]]:
        if not wanted:
            answer = await self._ask(list_services="")
            wanted = [service.name for service in answer.list_services_response.service]
            wanted = [name for name in wanted if not name.startswith(_OWN_PREFIXES)]
        for name in wanted:
            await self._keep(await self._ask(file_containing_symbol=name))
        while missing := {name for file in self._files.values() for name in file.dependency} - self._files.keys():
            for name in missing:
                await self._keep(await self._ask(file_by_filename=name))
        return _pool(self._files), wanted

    async def _ask(self, **question: str) -> reflection_pb2.ServerReflectionResponse:
        call = self._start(reflection_pb2.ServerReflectionRequest(**question))
        try:
            answer = await call.read()
        finally:
            call.cancel()  # does nothing to one that is over
        if answer is aio.EOF:
            raise ReflectionError("the server does not answer what it serves")
        if answer.HasField("error_response"):
            raise ReflectionError(f"the server does not know {next(iter(question.values()))}")
        return answer

    async def _keep(self, answer: reflection_pb2.ServerReflectionResponse) -> None:
        for serialized in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
            self._files.setdefault(file.name, file)


def _pool(files: dict[str, descriptor_pb2.FileDescriptorProto]) -> DescriptorPool:
    pool: Any = DescriptorPool()
    added: set[str] = set()
    for name in files:
        for file in _in_order(name, files, added):
            pool.AddSerializedFile(file.SerializeToString())
    return pool  # type: ignore[no-any-return]


def _in_order(
    name: str, files: dict[str, descriptor_pb2.FileDescriptorProto], added: set[str]
) -> Iterable[descriptor_pb2.FileDescriptorProto]:
    """A file after those that it imports, each once."""
    if name in added:
        return
    added.add(name)
    for dependency in files[name].dependency:
        yield from _in_order(dependency, files, added)
    yield files[name]
