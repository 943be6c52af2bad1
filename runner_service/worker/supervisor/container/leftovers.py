"""Containers that nobody accompanies any more: how they are known, and removed.

In the directory of a supervisor that ran containers is a note: the engine's socket, and a word of chance that every
container bears. A path would not do: two machines may share an engine, and a path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from time import monotonic, sleep
from typing import NamedTuple

from runner_service.worker.supervisor.container.engine import Engine, EngineAway, EngineRefused, quoted
from runner_service.worker.supervisor.container.order import LABEL_ATTEMPT, LABEL_OWNER

BUDGET_SECONDS = 10.0
_PAUSE_SECONDS = 0.02


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

    The engine knows none of them any more when this returns. One that somebody else is removing, a pilot that was
    killed over it for example, is waited for: its processes may live until it is gone.

    Raises:
        EngineAway: Some may be left.
    """
    deadline = monotonic() + BUDGET_SECONDS
    engine = Engine(note.engine)
    removed: set[str] = set()
    while found := _left(engine, note.owner, live, deadline):
        refused = False
        for container in found:
            try:
                engine.call("DELETE", f"/containers/{container}?force=1&v=1", timeout=_until(deadline))
                removed.add(container)
            except EngineRefused:
                refused = True
        if refused:
            sleep(_PAUSE_SECONDS)
    return len(removed)


def _left(engine: Engine, owner: str, live: Callable[[], Collection[str]], deadline: float) -> list[str]:
    """Containers with this word but those of live attempts."""
    filters = quoted(json.dumps({"label": [f"{LABEL_OWNER}={owner}"]}))
    try:
        found = engine.call("GET", f"/containers/json?all=1&filters={filters}", timeout=_until(deadline)) or []
    except EngineRefused as error:
        raise EngineAway(error.message) from None
    kept = live()
    return [one["Id"] for one in found if (one.get("Labels") or {}).get(LABEL_ATTEMPT) not in kept]


def _until(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise EngineAway("it takes too long to remove containers")
    return left


def remove_noted(path: str) -> None:
    """The same for all that a note names, if there is one and the engine answers."""
    note = read_note(path)
    if note is not None:
        try:
            remove_leftovers(note)
        except EngineAway:
            pass  # The worker looks again.
