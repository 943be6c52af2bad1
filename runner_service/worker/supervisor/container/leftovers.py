"""Containers that nobody accompanies any more: how they are known, and removed.

In the directory of a supervisor that ran containers is a note: the engine's socket, and a word of chance that every
container bears. A path would not do: two machines may share an engine, and a path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from time import monotonic
from typing import NamedTuple

from runner_service.worker.supervisor.container.engine import Engine, EngineAway, EngineRefused, quoted
from runner_service.worker.supervisor.container.order import LABEL_ATTEMPT, LABEL_OWNER

BUDGET_SECONDS = 10.0


class Note(NamedTuple):
    """Where to look for the containers of a directory, and by which word."""

    engine: str
    owner: str


def read_note(path: str) -> Note | None:
    """None: there never was a container."""
    try:
        with open(path) as file:  # noqa: PTH123
            return Note(*file.read().split("\n", 1))
    except (OSError, TypeError):
        return None


def write_note(path: str, engine: str) -> Note:
    """Before the first container is made. Raises OSError."""
    before = read_note(path)
    if before is not None and before.engine == engine:
        return before
    note = Note(engine, before.owner if before is not None else os.urandom(16).hex())
    new = f"{path}.new"
    with open(new, "w") as file:  # noqa: PTH123
        file.write("\n".join(note))
    os.rename(new, path)  # noqa: PTH104
    return note


def remove_leftovers(note: Note, live: Callable[[], Collection[str]] = tuple) -> int:
    """Removes every container with the note's word but those of live attempts; says how many. Who is live is asked
    after the containers were listed: none of them is younger than its attempt.

    Raises:
        EngineAway: Some may be left.
    """
    deadline = monotonic() + BUDGET_SECONDS
    engine = Engine(note.engine)
    filters = quoted(json.dumps({"label": [f"{LABEL_OWNER}={note.owner}"]}))
    try:
        found = engine.call("GET", f"/containers/json?all=1&filters={filters}", timeout=BUDGET_SECONDS) or []
    except EngineRefused as error:
        raise EngineAway(error.message) from None
    removed = 0
    kept = live()
    for container in found:
        if (container.get("Labels") or {}).get(LABEL_ATTEMPT) in kept:
            continue
        left = deadline - monotonic()
        if left <= 0:
            raise EngineAway("it takes too long to remove containers")
        try:
            engine.call("DELETE", f"/containers/{container['Id']}?force=1&v=1", timeout=left)
            removed += 1
        except EngineRefused:
            pass  # Somebody else is removing it.
    return removed


def remove_noted(path: str) -> None:
    """The same for all that a note names, if there is one and the engine answers."""
    note = read_note(path)
    if note is not None:
        try:
            remove_leftovers(note)
        except EngineAway:
            pass  # The worker looks again.
