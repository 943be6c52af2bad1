"""What holds an attempt to its limits: its cell, rlimits for what that lacks, and for the rest the truth about it."""

from __future__ import annotations

import os
from collections.abc import Callable

from runner_service.worker.supervisor import linux
from runner_service.worker.supervisor.cells import Cell, Cells, Limits
from runner_service.worker.supervisor.wire import Plan


class Confinement:
    """Of one attempt, from its start to its end."""

    __slots__ = ("_cells", "_rlimits", "cell", "unenforced")

    def __init__(self, cells: Cells | None, attempt_id: str, plan: Plan) -> None:
        asked = Limits(plan.cpus, plan.memory_bytes, plan.processes)
        self._cells = cells
        self.cell: Cell | None = None if cells is None else cells.make(attempt_id, asked)
        held = self.cell.enforced if self.cell is not None else Limits()
        root = os.geteuid() == 0  # Root may have any number of processes.
        self._rlimits = Limits(
            0.0,
            0 if held.memory_bytes else asked.memory_bytes,
            0 if held.processes or root else asked.processes,
        )
        self.unenforced: list[str] = []
        """Limits that nothing here can hold."""
        if asked.cpus and not held.cpus:
            self.unenforced.append("cpus")
        if asked.processes and not held.processes and root:
            self.unenforced.append("processes")

    def spawn(self, spawn: Callable[[], int]) -> int:
        """Lets ``spawn`` start a process that is confined from its first instruction on, or with rlimits soon after."""
        try:
            if self.cell is not None:
                self.cell.enter()
            pid = spawn()
        finally:
            if self.cell is not None:
                self.cell.leave()
        linux.offer_to_oom_killer(pid)
        if any(self._rlimits):
            linux.limit_by_rlimits(pid, self._rlimits.memory_bytes, self._rlimits.processes)
        return pid

    def out_of_memory(self) -> str:
        """A sentence, if the kernel has ended a process of it for memory; else nothing."""
        if self.cell is None or not self.cell.oom_kills():
            return ""
        most = self.cell.enforced.memory_bytes
        return f"its processes used more than {most} bytes of memory" if most else "the machine ran out of memory"

    def peak_memory(self) -> int:
        return self.cell.peak_memory() if self.cell is not None else 0

    def end(self) -> None:
        """Nothing of it lives any more."""
        if self._cells is not None and self.cell is not None:
            self._cells.remove(self.cell)
