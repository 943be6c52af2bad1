"""Where on this machine the supervisor may make cgroups: made before it starts, removed after its end.

A machine has cgroups v1, one hierarchy per controller, v2, one for all, or both, the v2 then mostly without any
controller. Below its own cgroup in each, a supervisor has one directory, ``runner-PID-RANDOM``: on v1 for the cells of
attempts, on v2 for its realm too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import NamedTuple

from runner_service.worker.supervisor import linux
from runner_service.worker.supervisor.cells import CONTROLLERS, V1, V2, Cells, Limits, write

SHARE_OF_PROCESSES = 0.75
"""Of what the machine has numbers for: so many processes all jobs together may have."""
_UNIFIED = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")


class Places(NamedTuple):
    """The directories of one supervisor; empty where there is none."""

    unified: str = ""
    """On v2."""
    v1: dict[str, str] = {}  # noqa: RUF012  Nobody changes it.
    """By controller."""


def make_places() -> Places:
    """Makes every directory that can be made."""
    name = f"runner-{os.getpid()}-{os.urandom(3).hex()}"
    own = _own_cgroups()
    v1 = {}
    for controller, mount in _v1_mounts().items():
        path = _make(mount, own.get(controller, "/"), name)
        if path:
            v1[controller] = path
    if "pids" in v1:
        _bound(v1["pids"])
    return Places(_make_unified(own.get("", "/"), name), v1)


def open_cells(places: Places, most: Limits) -> Cells | None:
    """The cells below these places; None where no limit can be imposed. On v2 the caller must be in the realm."""
    if "pids" in places.v1 or "memory" in places.v1:
        return Cells(V1, places.v1, {name: os.path.dirname(path) for name, path in places.v1.items()}, most)  # noqa: PTH120
    on_v2 = controllers(places)
    if on_v2:
        home = shared(places.unified)
        threads = _hand_down(home, ("pids", "cpu"))
        if most.processes and not threads:
            try:
                write(f"{home}/pids.max", str(most.processes))
            except OSError:
                pass
        return Cells(V2, dict.fromkeys(on_v2, places.unified), dict.fromkeys(on_v2, home), most, threads=threads)
    return None


def controllers(places: Places) -> list[str]:
    """Those of v2 that cells below these places have."""
    try:
        given = linux.read(f"{places.unified}/cgroup.subtree_control").decode().split() if places.unified else []
    except OSError:
        given = []
    return [name for name in CONTROLLERS if name in given]


def shared(unified: str) -> str:
    """Where the supervisor lives with all attempts that have no cell: a leaf where there are controllers."""
    leaf = f"{unified}/jobs"
    return leaf if os.path.isdir(leaf) else unified  # noqa: PTH112


def empty(places: Places) -> None:
    """Kills everything below these places, a whole v2 cgroup in one stroke where the kernel can (5.14)."""
    for path in (f"{places.unified}/cgroup.kill", *(f"{cell}/pids.max" for cell in _cells(places, "pids"))):
        try:
            write(path, "1" if path.endswith("kill") else "0")
        except OSError:
            pass
    for controller in places.v1:
        for cell in _cells(places, controller):
            for pid in _pids(cell):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def remove(places: Places) -> bool:
    """Removes these places; False when one still holds processes."""
    directories = [cell for controller in places.v1 for cell in _cells(places, controller)]
    directories += places.v1.values()
    if places.unified:
        directories += [path for path, _, _ in os.walk(places.unified, topdown=False)]
    gone = True
    for directory in directories:
        try:
            os.rmdir(directory)  # noqa: PTH106
        except FileNotFoundError:
            pass
        except OSError:
            gone = False
    return gone


def _own_cgroups() -> dict[str, str]:
    """By controller, and under no name that of v2: the path of this process's cgroup in its hierarchy."""
    found = {}
    for line in linux.read("/proc/self/cgroup").decode().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _v1_mounts() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in linux.read("/proc/self/mounts").decode().splitlines():
        _, mount, kind, options, *_ = line.split(" ")
        if kind == "cgroup":
            for controller in set(options.split(",")).intersection(CONTROLLERS):
                found.setdefault(controller, mount)
    return found


def _make(mount: str, own: str, name: str) -> str:
    # In a container the path may be one of the machine's, of which only the end is mounted here.
    for parent in (f"{mount}{own.rstrip('/')}", mount):
        if os.path.exists(f"{parent}/cgroup.procs"):  # noqa: PTH110
            try:
                os.mkdir(f"{parent}/{name}")  # noqa: PTH102
            except OSError:
                continue
            return f"{parent}/{name}"
    return ""


def _make_unified(own: str, name: str) -> str:
    """With controllers where they can be had: below this process's own cgroup or, since one with processes gives none
    to those below it, beside it (systemd's DelegateSubgroup=)."""
    for mount in _UNIFIED:
        if not os.path.exists(f"{mount}/cgroup.controllers"):  # noqa: PTH110
            continue
        mine = f"{mount}{own.rstrip('/')}"
        for parent in (mine, os.path.dirname(mine)):  # noqa: PTH120
            if parent.startswith(mount) and _hand_down(parent):
                path = _make(parent, "", name)
                if path and _hand_down(path):
                    os.mkdir(f"{path}/jobs")  # noqa: PTH102
                    _bound(path)
                if path:
                    return path
        path = _make(mount, own, name)
        if path:
            return path
    return ""


def _hand_down(parent: str, wanted: Sequence[str] = CONTROLLERS) -> bool:
    """Gives the controllers of a v2 cgroup to those below it; False when ``pids``, without which no cell can be closed,
    is none of them. A user's own session may have no ``cpu``."""
    try:
        found = linux.read(f"{parent}/cgroup.controllers").decode().split()
        if "pids" not in found:
            return False
        write(f"{parent}/cgroup.subtree_control", " ".join(f"+{name}" for name in wanted if name in found))
    except OSError:
        return False
    return True


def _bound(pids: str) -> None:
    """Leaves the machine room for what is not a job."""
    try:
        most = min(int(linux.read(f"/proc/sys/kernel/{name}")) for name in ("pid_max", "threads-max"))
        write(f"{pids}/pids.max", str(int(most * SHARE_OF_PROCESSES)))
    except OSError:
        pass


def _cells(places: Places, controller: str) -> list[str]:
    return below(places.v1[controller]) if controller in places.v1 else []


def below(path: str) -> list[str]:
    """The cgroups right below one."""
    try:
        return [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _pids(path: str) -> list[int]:
    try:
        return [int(pid) for pid in linux.read(f"{path}/cgroup.procs").split()]
    except OSError:
        return []
