"""Whose is this process? Finds every living process of each attempt, whatever it did to hide, and ends it.

An attempt that has a cell has exactly the processes in it.

Without one a process of the realm belongs to the attempt of its parent; when that is gone (a double fork), to that of
its session; when it left that too (setsid), to the attempt named in its environment; when it wiped that, to the one
whose output pipe it holds or in whose fresh directory it stands. What is left belonged to one of the attempts that were
live when it was first seen, and is ended with the last of them.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Collection, Iterable, Mapping

from runner_service.worker.supervisor import linux
from runner_service.worker.supervisor.cells import Cell
from runner_service.worker.supervisor.halting import halt
from runner_service.worker.supervisor.realm import Realm

_MARKER = b"RUNNER_ATTEMPT_ID"
CROWD = 16
"""So many processes are not looked at one by one while they may fork."""

RECENT = 256
"""Attempts whose stray processes are still recognised after their end."""


class Tree:
    """Attributes processes to attempts, and remembers it: each process is looked at once."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._mains: dict[int, str] = {}
        self._owners: dict[int, str] = {}
        self._born: dict[int, int] = {}
        """When each of these started, for the kernel gives pids again."""
        self._sessions: dict[int, str] = {}
        self._suspects: dict[int, set[str]] = {}
        self._places: dict[str, str] = {}
        """Names of the pipes and the fresh directory of an attempt, to its id."""
        self._live: set[str] = set()
        self._cells: dict[str, Cell] = {}
        self._over: deque[str] = deque(maxlen=RECENT)
        self._stubborn: set[str] = set()
        """Attempts that one round of KILL did not end."""
        self.helpers: set[int] = set()
        """Children of the supervisor that belong to no attempt."""

    def begin(self, attempt_id: str, places: Iterable[str], cell: Cell | None) -> None:
        self._live.add(attempt_id)
        if cell is not None and cell.exact:
            self._cells[attempt_id] = cell
        for place in places:
            self._places[place] = attempt_id

    def end(self, attempt_id: str) -> None:
        """Forgets an attempt of which nothing lives any more."""
        self._live.discard(attempt_id)
        self._cells.pop(attempt_id, None)
        self._over.append(attempt_id)
        if attempt_id in self._stubborn:
            self._stubborn.discard(attempt_id)
            linux.hurry(bool(self._stubborn))
        for table in (self._mains, self._owners, self._sessions, self._places):
            for key in [key for key, owner in table.items() if owner == attempt_id]:
                del table[key]  # type: ignore[arg-type]
        for attempts in self._suspects.values():
            attempts.discard(attempt_id)

    def main_started(self, attempt_id: str, pid: int) -> None:
        """The main process of a step; it leads a session of its own."""
        self._mains[pid] = attempt_id
        self._sessions[pid] = attempt_id

    def main_reaped(self, pid: int) -> str | None:
        """Tells whose main process it was."""
        return self._mains.pop(pid, None)

    def owner_of(self, pid: int) -> str | None:
        """Whose process it is, as far as was noticed."""
        return self._owners.get(pid)

    def members(self, wanted: Collection[str] | None = None) -> Mapping[str, list[int]]:
        """Every living process of these attempts, or of all, main processes included. One look at the realm, or none
        where the cells say it all."""
        if wanted is not None and all(attempt_id in self._cells for attempt_id in wanted):
            return {attempt_id: self._cells[attempt_id].pids() for attempt_id in wanted}
        found = self._members_of_realm()
        found.update((attempt_id, cell.pids()) for attempt_id, cell in self._cells.items())
        return found

    def _members_of_realm(self) -> dict[str, list[int]]:
        pids = self._realm.pids()
        unknown = [p for p in pids if p not in self._mains and p not in self._owners and p not in self.helpers]
        if unknown:
            self._attribute(unknown)
        if len(self._owners) + len(self._suspects) > 0:
            living = set(pids)
            self._owners = {pid: owner for pid, owner in self._owners.items() if pid in living}
            self._born = {pid: born for pid, born in self._born.items() if pid in self._owners}
            self._suspects = {pid: live for pid, live in self._suspects.items() if pid in living}
        found: dict[str, list[int]] = {}
        for pid in pids:
            owner = self._mains.get(pid) or self._owners.get(pid)
            if owner is None and pid in self._suspects:
                owner = self._last_suspect(pid)
            if owner is not None:
                found.setdefault(owner, []).append(pid)
        return found

    def signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Sends a signal to each that is still the process it was when it was attributed."""
        for pid in pids:
            born = self._born.get(pid)
            if born is not None and ((found := linux.process(pid)) is None or found.started != born):
                self._owners.pop(pid, None)
                continue
            try:
                os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    def kill(self, attempt_id: str, pids: list[int], rounds: int) -> None:
        """One round of KILL over all that is left of an attempt."""
        if (cell := self._cells.get(attempt_id)) is not None:
            cell.close()
            self.signal(cell.pids(), signal.SIGKILL)
            return
        if not rounds and len(pids) < CROWD:
            self.signal(pids, signal.SIGKILL)
            return
        self._stubborn.add(attempt_id)
        linux.hurry(True)
        with self._realm.frozen() as frozen:
            # What is stopped does not fork while the others are looked at.
            stopped = set() if frozen else self._halt(attempt_id)
            found = self.members().get(attempt_id, [])
            self.signal(found, signal.SIGKILL)
            self.signal(stopped.difference(found), signal.SIGCONT)

    def _halt(self, attempt_id: str) -> set[int]:
        others = {pid for table in (self._mains, self._owners) for pid, of in table.items() if of != attempt_id}
        sessions = {session for session, of in self._sessions.items() if of == attempt_id}
        return halt(os.getpid(), sessions, others | self.helpers)

    def _last_suspect(self, pid: int) -> str | None:
        attempts = self._suspects[pid]
        if not attempts:  # All it can have belonged to are over.
            self.signal((pid,), signal.SIGKILL)
        return next(iter(attempts)) if len(attempts) == 1 else None

    def _attribute(self, pids: list[int]) -> None:
        looked_at = {pid: found for pid in pids if (found := linux.process(pid)) is not None}
        in_cells = {pid: attempt_id for attempt_id, cell in self._cells.items() for pid in cell.pids()}
        for pid, found in looked_at.items():
            owner = in_cells.get(pid)
            owner = (
                owner or self._by_parent(found, looked_at) or self._sessions.get(found.session) or self._by_traces(pid)
            )
            if owner is None:
                self._suspects.setdefault(pid, set(self._live))
                continue
            self._owners[pid] = owner
            self._born[pid] = found.started
            self._sessions.setdefault(found.session, owner)
            self._suspects.pop(pid, None)

    def _by_parent(self, found: linux.Process, looked_at: Mapping[int, linux.Process]) -> str | None:
        parent: int | None = found.parent
        for _ in range(len(looked_at) + 1):
            if parent is None:
                return None
            owner = self._mains.get(parent) or self._owners.get(parent)
            if owner is not None:
                return owner
            above = looked_at.get(parent)
            parent = above.parent if above is not None else None
        return None

    def _by_traces(self, pid: int) -> str | None:
        named = linux.environment_value(pid, _MARKER)
        if named in self._live:
            return named
        if named in self._over:  # It was never seen while its attempt was ended, where that has to go by /proc.
            self.signal((pid,), signal.SIGKILL)
        for name in ("fd/1", "fd/2", "cwd"):
            owner = self._places.get(linux.link(f"/proc/{pid}/{name}"))
            if owner is not None:
                return owner
        return None
