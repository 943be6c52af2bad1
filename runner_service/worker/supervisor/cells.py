"""Cells: the cgroups of one attempt. They hold its limits, and say exactly which processes are its own.

A child is born where its parent is, so the supervisor enters a cell for the moment of a spawn. On cgroup v1 writing
``0`` to ``tasks`` moves one thread, here the only one, and takes no lock of the whole machine: 7 µs, and 100 µs when
nothing is warm. On v2 writing it to ``cgroup.threads`` does the same between threaded cgroups, which can be limited in
all but memory: that is held in cells of another kind, entered by ``cgroup.procs``, which on an idle machine waits 10 to
25 ms for a grace period of the kernel.

A cell is closed before its processes are killed: at ``pids.max`` 0 no fork succeeds, so nothing outruns the look.

Making and removing a cgroup costs the kernel more than the start of a small program. A cell that held only the runner's
own limit of processes, and was neither closed nor left with a process in it, is therefore the next one's. Its files
stay open then: to open one costs several times what is read from it or written to it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from runner_service.worker.supervisor import linux

PERIOD_US = 100_000
MIN_QUOTA_US = 1_000
CONTROLLERS = ("pids", "memory", "cpu")
LEAST_MEMORY = 8 << 20
"""No cell has less: with less a process cannot even start, and who enters to start it would be ended in its place."""
HEADROOM = 8 << 20
"""So much more a cell that is in use may have while the supervisor is in it."""
_KEPT_OPEN = {"pids.current": os.O_RDONLY, "pids.max": os.O_RDONLY}
"""And the one that takes members."""
MAX_SPARE = 64
"""Empty cells that are kept for who comes next."""


class Limits(NamedTuple):
    """What the processes of one attempt may use together; 0: no limit."""

    cpus: float = 0.0
    memory_bytes: int = 0
    processes: int = 0

    def within(self, most: Limits) -> Limits:
        """Both hold."""
        return Limits(
            _least(self.cpus, most.cpus),
            int(_least(self.memory_bytes, most.memory_bytes)),
            int(_least(self.processes, most.processes)),
        )


class Layout(NamedTuple):
    """What the files of a version of cgroups are called."""

    members: str
    """Takes the process that writes ``0``."""
    memory: str
    swap: str
    """Memory and swap together on v1, swap alone on v2."""
    peak: str
    oom: str
    cpu: str
    no_quota: str


V1 = Layout(
    "tasks", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control",
    "cpu.cfs_quota_us", "-1",
)  # fmt: skip
V2 = Layout(
    "cgroup.procs", "memory.max", "memory.swap.max", "memory.peak", "memory.events",
    "cpu.max", "max",
)  # fmt: skip
V2_THREADS = V2._replace(members="cgroup.threads")


class Cell:
    """The cgroups of one attempt."""

    __slots__ = ("_closed", "_directories", "_files", "_homes", "_layout", "_used", "enforced")

    def __init__(self, layout: Layout, directories: dict[str, str], homes: dict[str, int]) -> None:
        """
        Args:
            directories: By controller; on v2 the same for all.
            homes: By controller: the open member file to which the supervisor returns.
        """
        self._layout = layout
        self._directories = directories
        self._homes = homes
        self._used = False
        """Something was started in it, and may live."""
        self._closed = False
        self._files: dict[str, int] = {}
        """Those that stay open, once it was renewed."""
        self.enforced = Limits()

    @property
    def exact(self) -> bool:
        """Lists all processes of the attempt, and can be closed."""
        return "pids" in self._directories

    def impose(self, limits: Limits) -> None:
        """Writes the limits; those that can be written are ``enforced``."""
        cpus, memory, processes = limits
        memory = max(memory, LEAST_MEMORY) if memory else 0
        self.enforced = Limits(
            cpus if cpus and self._set("cpu", self._layout.cpu, _quota(cpus, self._layout)) else 0.0,
            memory if memory and self._set_memory(memory) else 0,
            processes if processes and self._set_processes(processes) else 0,
        )

    def enter(self) -> None:
        """Moves this process in, so that its next child is born here.

        What holds the attempt must not hold this process, which has all the others to look after: alone with its first
        child it finds room enough, but no quota that is used up; later there may be no room, and the kernel could end
        it for the memory of the job.

        Raises:
            OSError: Not possible; `leave` still has to be called.
        """
        cpus, memory, processes = self.enforced
        if cpus:
            self._set("cpu", self._layout.cpu, self._layout.no_quota)
        if processes and (self._used or processes < 2):
            self._set_processes(processes + 1)
        if memory and self._used:
            self._set_memory(memory + HEADROOM)
        if self._files:
            os.pwrite(self._files[self._layout.members], b"0", 0)
            return
        for directory in self._places():
            write(f"{directory}/{self._layout.members}", "0")

    def leave(self) -> None:
        for home in dict.fromkeys(self._homes[controller] for controller in self._directories):
            os.pwrite(home, b"0", 0)
        cpus, memory, processes = self.enforced
        if cpus:
            self._set("cpu", self._layout.cpu, _quota(cpus, self._layout))
        if processes and (self._used or processes < 2):
            self._set_processes(processes)
        if memory and self._used:
            # v2 ends what is too much; v1 refuses while nothing can be taken back, and the job keeps the headroom.
            self._set_memory(memory)
        self._used = True

    def pids(self) -> list[int]:
        """Every living process of the attempt. Opened each time: v1 makes the list when the file is opened."""
        threaded = self._layout is V2_THREADS
        try:
            if self._files and os.pread(self._files["pids.current"], 16, 0) == b"0\n":
                return []
            listed = linux.read(f"{self._directories['pids']}/{'cgroup.threads' if threaded else 'cgroup.procs'}")
        except OSError:
            return []
        found = map(int, listed.split())
        me = os.getpid()
        return [pid for pid in (dict.fromkeys(map(linux.process_of, found)) if threaded else found) if pid != me]

    def close(self) -> None:
        """No process of it can fork from now on."""
        self._closed = True
        self._set("pids", "pids.max", "0")

    def oom_kills(self) -> int:
        """How many of its processes the kernel has ended for memory."""
        return self._number("memory", self._layout.oom, b"oom_kill ")

    def peak_memory(self) -> int:
        """0: not counted."""
        return self._number("memory", self._layout.peak, b"")

    def renew(self) -> bool:
        """Makes it fit for another attempt; False where it is not as good as new: its job may have been root."""
        if self._closed or self._layout is V2 or list(self._directories) != ["pids"]:
            return False
        try:
            empty = os.stat(self._directories["pids"]).st_nlink == 2 and not self.pids()  # noqa: PTH116
            if self._files:
                limit = os.pread(self._files["pids.max"], 32, 0)
            else:
                limit = linux.read(f"{self._directories['pids']}/pids.max")
            self._used = not empty or limit.decode() != f"{self.enforced.processes or 'max'}\n"
        except OSError:
            return False
        return not self._used

    def open_files(self) -> bool:
        """Opens those that the next attempts need. False: they were open, or cannot be."""
        if self._files:
            return False
        try:
            for name, mode in {self._layout.members: os.O_WRONLY, **_KEPT_OPEN}.items():
                self._files[name] = os.open(f"{self._directories['pids']}/{name}", mode | os.O_CLOEXEC)
        except OSError:
            self.close_files()
            return False
        return True

    def close_files(self) -> bool:
        """True: they were open."""
        were_open = bool(self._files)
        while self._files:
            os.close(self._files.popitem()[1])
        return were_open

    def remove(self) -> bool:
        """Removes what holds no process any more; True when nothing is left."""
        for controller, directory in list(self._directories.items()):
            try:
                os.rmdir(directory)  # noqa: PTH106
            except FileNotFoundError:
                pass
            except OSError:
                continue
            del self._directories[controller]
        return not self._directories

    def _places(self) -> dict[str, None]:
        return dict.fromkeys(self._directories.values())

    def _set_processes(self, count: int) -> bool:
        return self._set("pids", "pids.max", str(count))

    def _set_memory(self, size: int) -> bool:
        done = self._set("memory", self._layout.memory, str(size))
        # Absent where the kernel does not account for swap; there is none then, or it is not held against anybody.
        swap = self._set("memory", self._layout.swap, str(size) if self._layout is V1 else "0")
        # On v1 memory may not be more than memory and swap together, which are raised first.
        return done or (swap and self._set("memory", self._layout.memory, str(size)))

    def _set(self, controller: str, name: str, text: str) -> bool:
        directory = self._directories.get(controller)
        if directory is None:
            return False
        try:
            write(f"{directory}/{name}", text)
        except OSError:
            return False
        return True

    def _number(self, controller: str, name: str, word: bytes) -> int:
        directory = self._directories.get(controller)
        if directory is None:
            return 0
        try:
            for line in linux.read(f"{directory}/{name}").splitlines():
                if line.startswith(word):
                    return int(line[len(word) :])
        except (OSError, ValueError):
            pass
        return 0


class Cells:
    """Makes cells below the places of one supervisor."""

    def __init__(
        self, layout: Layout, places: dict[str, str], homes: dict[str, str], most: Limits, *, threads: bool = False
    ) -> None:
        """
        Args:
            places: By controller: the directory in which cells are made.
            homes: By controller: the directory of the cgroup in which the supervisor itself lives.
            most: The runner's own limits.
            threads: On v2: below these homes there can be threaded cgroups.
        """
        self._layout = layout
        self._places = places
        self._threads = {name: home for name, home in homes.items() if name != "memory"} if threads else {}
        self._most = most
        self._left: list[Cell] = []
        self._spare: list[Cell] = []
        """Of `Limits` that are the runner's own."""
        self._open = 0
        """Cells whose files are open: so many that the others' attempts do not lack for files."""
        self._homes = _open(homes, layout.members)
        self._thread_homes = _open(self._threads, V2_THREADS.members)

    def make(self, attempt_id: str, asked: Limits) -> Cell | None:
        """The cell of an attempt, or None where it needs none or none can be made; see `Cell.enforced`."""
        limits = asked.within(self._most)
        if self._spare and limits == self._most:
            return self._spare.pop()
        wanted = {"pids": True, "memory": bool(limits.memory_bytes), "cpu": bool(limits.cpus)}
        layout, places, homes = self._layout, self._places, self._homes
        if layout is V2 and not limits.memory_bytes:
            if self._threads:
                layout, places, homes = V2_THREADS, self._threads, self._thread_homes
            elif not any(asked) and not limits.cpus:
                return None
        directories = {}
        for controller, place in places.items():
            if wanted[controller] or layout is V2:
                directory = f"{place}/{attempt_id}"
                try:
                    os.makedirs(directory, exist_ok=True)  # noqa: PTH103
                    if layout is V2_THREADS and controller == "pids":
                        write(f"{directory}/cgroup.type", "threaded")
                except OSError:
                    continue
                directories[controller] = directory
        if not directories:
            return None
        cell = Cell(layout, directories, homes)
        cell.impose(limits)
        return cell

    def remove(self, cell: Cell) -> None:
        """Takes a cell back for the next attempt, or removes it: at once or, when something of it cannot be ended, some
        time."""
        if len(self._spare) < MAX_SPARE and cell.enforced == self._most and cell.renew():
            if self._open < MAX_SPARE:
                self._open += cell.open_files()
            self._spare.append(cell)
            return
        self._open -= cell.close_files()
        self._left = [one for one in (*self._left, cell) if not one.remove()]


def write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _open(homes: dict[str, str], name: str) -> dict[str, int]:
    opened = {path: os.open(f"{path}/{name}", os.O_WRONLY | os.O_CLOEXEC) for path in dict.fromkeys(homes.values())}
    return {controller: opened[path] for controller, path in homes.items()}


def _least(one: float, other: float) -> float:
    return min(one, other) if one and other else one or other


def _quota(cpus: float, layout: Layout) -> str:
    quota = max(MIN_QUOTA_US, round(cpus * PERIOD_US))
    return str(quota) if layout is V1 else f"{quota} {PERIOD_US}"
