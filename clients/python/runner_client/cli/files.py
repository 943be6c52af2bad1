"""Files of ours on their way to a job."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.v1.job_pb2 import JobInput
from runner_client.cli.report import USAGE, CommandLineError

if TYPE_CHECKING:
    from runner.v1.artifact_pb2 import Artifact
    from runner_client.client import AsyncClient

ARTIFACT = "artifact:"


async def upload(client: AsyncClient, path: Path, name: str = "") -> Artifact:
    """Uploads a file; the same file again is not uploaded again, and one that was cut goes on."""
    try:
        with path.open("rb") as file:
            return await client.artifacts.upload(file, name or path.name, request_id=_request_id(path, name))
    except OSError as error:
        raise CommandLineError(f"cannot read {path}: {error.strerror}", "name a file", code=USAGE) from None


async def uploaded(client: AsyncClient, words: Sequence[str]) -> list[JobInput]:
    """The inputs of a job from words of the form FILE, FILE:PATH, artifact:ID or artifact:ID:PATH."""
    inputs = []
    for word in words:
        if word.startswith(ARTIFACT):
            artifact_id, _, path = word.removeprefix(ARTIFACT).partition(":")
            artifact = await client.artifacts.get(artifact_id)
            inputs.append(JobInput(artifact_id=artifact_id, path=path or artifact.name))
            continue
        text, _, path = (word, "", "") if is_file(word) else word.rpartition(":")
        file = Path(text or word)
        artifact = await upload(client, file)
        inputs.append(JobInput(artifact_id=artifact.artifact_id, path=path or file.name, executable=may_execute(file)))
    return inputs


def is_file(text: str) -> bool:
    return Path(text).is_file()


def may_execute(path: Path) -> bool:
    """Its owner may: so may the job."""
    return bool(path.stat().st_mode & 0o100)


def _request_id(path: Path, name: str) -> str:
    stamp = path.stat()
    key = f"{path.resolve()} {stamp.st_size} {stamp.st_mtime_ns} {name}"
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
