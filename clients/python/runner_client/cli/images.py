"""`runner images`: what agents are made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner_client.cli.report import USAGE, CommandLineError
from runner_client.cli.session import Session, command, group

if TYPE_CHECKING:
    from runner.v1.image_pb2 import Image

HEADS = ("NAME", "TAG", "IMAGE ID", "SIZE", "MODEL", "DESCRIPTION")

command_line = group("images", help="Images of agents: here and in the registry.")


@command("list")
def list_images(session: Session) -> int:
    """List the images that agents can be made from."""
    return session.run(_list(session))


@command("show")
@click.argument("reference")
def show(session: Session, reference: str) -> int:
    """Show an image, as JSON. REFERENCE: NAME, NAME:TAG, an id or the start of one."""
    return session.run(_show(session, reference))


@command("push")
@click.argument("reference", metavar="NAME[:TAG]")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--from", "source", default="", metavar="REFERENCE", help="An image that is there, instead of a path.")
@click.option("--description", default="", help="Instead of what its manifest says.")
def push(session: Session, reference: str, path: Path | None, source: str, description: str) -> int:
    """Push an image. PATH: a directory with agent.json (or agent.yaml) and files, an archive of one, or a manifest."""
    return session.run(_push(session, reference, path, source, description))


@command("pull")
@click.argument("reference", metavar="NAME[:TAG]")
def pull(session: Session, reference: str) -> int:
    """Get an image from the registry."""
    return session.run(_pull(session, reference))


@command("search")
@click.argument("query", default="")
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many.")
def search(session: Session, query: str, limit: int) -> int:
    """Search the registry by part of a name or model."""
    return session.run(_search(session, query, limit))


@command("rm")
@click.argument("reference")
def remove(session: Session, reference: str) -> int:
    """Take a name away from the images that are here; the registry keeps it."""
    return session.run(_remove(session, reference))


for each in (list_images, show, push, pull, search, remove):
    command_line.add_command(each)


async def _list(session: Session) -> int:
    async with session.client() as client:
        _print(session, await client.images.list_all())
    return 0


async def _show(session: Session, reference: str) -> int:
    from runner_client.cli.output import as_json, print_json

    async with session.client() as client:
        print_json(as_json(await client.images.get(reference)))
    return 0


async def _push(session: Session, reference: str, path: Path | None, source: str, description: str) -> int:
    from runner_client.cli.packing import package_of

    if (path is None) == (not source):
        raise CommandLineError("give either a PATH or --from", "runner images push NAME DIRECTORY", code=USAGE)
    name, tag = _split(reference)
    package = package_of(path) if path is not None else None
    async with session.client() as client:
        pushed = await client.images.push(name, tag, package=package, reference=source, description=description)
    _print_one(session, pushed)
    return 0


async def _pull(session: Session, reference: str) -> int:
    async with session.client() as client:
        _print_one(session, await client.images.pull(*_split(reference)))
    return 0


async def _search(session: Session, query: str, limit: int) -> int:
    async with session.client() as client:
        _print(session, await client.images.search(query, limit=limit))
    return 0


async def _remove(session: Session, reference: str) -> int:
    async with session.client() as client:
        _print_one(session, await client.images.delete(reference))
    return 0


def _split(reference: str) -> tuple[str, str]:
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, "")


def _print_one(session: Session, image: Image) -> None:
    from runner_client.cli.output import as_json, print_json, print_line

    if session.json:
        print_json(as_json(image))
    else:
        print_line(image.image_id)


def _print(session: Session, images: Iterable[Image]) -> None:
    from runner_client.cli.output import as_json, print_json
    from runner_client.cli.table import print_table

    if session.json:
        print_json([as_json(image) for image in images])
        return
    rows = [
        (
            image.name,
            image.tag,
            image.image_id.removeprefix("sha256:")[:12],
            f"{image.size_bytes / 1024:.0f} KiB",
            image.manifest.model or "-",
            image.manifest.description or "-",
        )
        for image in images
    ]
    print_table(HEADS, rows)
