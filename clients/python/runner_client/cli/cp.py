"""`runner cp`: files to the server, and from it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner_client.cli.report import USAGE, CommandLineError
from runner_client.cli.session import Session, command

if TYPE_CHECKING:
    from runner.v1.artifact_pb2 import Artifact
    from runner_client.client import AsyncClient

ARTIFACT = "artifact"
PART = ".part"
"""Behind the name of a file that is on its way."""


@command("cp")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
def command_line(session: Session, source: str, target: str) -> int:
    """Copy a file to the server or from it.

    \b
    runner cp FILE artifact:[NAME]     upload; prints the artifact's id
    runner cp artifact:ID PATH         download
    runner cp JOB_ID:NAME PATH         download what a job left
    runner cp JOB_ID: DIRECTORY        all of it

    PATH may be - for standard output. What was cut goes on where it was, and what arrives is checked by SHA-256.
    """
    return session.run(_copy(session, source, target))


async def _copy(session: Session, source: str, target: str) -> int:
    where, colon, name = target.partition(":")
    if colon and where == ARTIFACT:
        return await _upload(session, Path(source), name)
    where, colon, name = source.partition(":")
    if not colon:
        raise CommandLineError(
            "one side is on the server", "write artifact:[NAME], artifact:ID or JOB_ID:NAME", code=USAGE
        )
    async with session.client() as client:
        if where == ARTIFACT:
            await _download(client, await client.artifacts.get(name), _place(target, name))
            return 0
        return await _download_of_job(client, where, name, target)


async def _upload(session: Session, path: Path, name: str) -> int:
    from runner_client.cli.files import upload
    from runner_client.cli.output import as_json, print_json, print_line

    async with session.client() as client:
        artifact = await upload(client, path, name)
    if session.json:
        print_json(as_json(artifact))
    else:
        print_line(artifact.artifact_id)
    return 0


async def _download_of_job(client: AsyncClient, text: str, name: str, target: str) -> int:
    from runner_client.cli.job_ids import whole_job_id

    job_id = await whole_job_id(client, text)
    # Of attempts that left the same name the last counts.
    found = {artifact.name: artifact for artifact in await client.artifacts.list(job_id)}
    if name:
        if name not in found:
            left = f"it left {', '.join(found)}" if found else "it left no files"
            raise CommandLineError(f"the job {job_id} left no {name}", left)
        await _download(client, found[name], _place(target, name))
        return 0
    if not found:
        await client.get_job(job_id)  # Or is there no such job?
    for each in found.values():
        path = place_below(Path(target), each.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        await _download(client, each, path)
    return 0


def place_below(directory: Path, name: str) -> Path:
    """Where a file of this name goes; no name leads out of the directory, whatever the server says."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise CommandLineError(f"the name {name} leads out of {directory}", "copy it alone, to a file that you name")
    return directory / name


def _place(target: str, name: str) -> Path | None:
    """The file; None for standard output."""
    if target == "-":
        return None
    path = Path(target)
    return path / Path(name).name if path.is_dir() else path


async def _download(client: AsyncClient, artifact: Artifact, path: Path | None) -> None:
    digest = hashlib.sha256()
    if path is None:
        from runner_client.cli.output import STDOUT, write_all

        async for piece in client.artifacts.download(artifact):
            digest.update(piece)
            await write_all(STDOUT, piece)
        _check(artifact, digest.hexdigest())
        return
    part = path.with_name(f"{path.name}.{artifact.artifact_id}{PART}")
    try:
        with part.open("a+b") as file:
            file.seek(0)
            while piece := file.read(1 << 20):
                digest.update(piece)
            async for piece in client.artifacts.download(artifact, offset=file.tell()):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != artifact.sha256:
            part.unlink()
        _check(artifact, digest.hexdigest())
        part.replace(path)
    except OSError as error:
        raise CommandLineError(f"cannot write {path}: {error.strerror}") from None


def _check(artifact: Artifact, sha256: str) -> None:
    if sha256 != artifact.sha256:
        raise CommandLineError(f"what arrived of {artifact.name} is damaged", "copy it again")
