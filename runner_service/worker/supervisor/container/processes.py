"""What can be seen of a container's processes from the machine that runs them: their end, their group, their usage.

All of it is optional: the engine may live in another namespace of processes or on another machine, and tells the most
important by itself. What cannot be seen is None, or nothing.
"""

from __future__ import annotations

import fcntl
import os
import struct

_PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xFF, 11, 64 bytes)."""
_INFO_EXIT = 1 << 3
_INFO = struct.Struct("<QQ11Ii")


def belongs(pid: int, container_id: str) -> bool:
    """Tells whether the process of that number is seen from here as one of that container. The number is one of the
    engine's: in another namespace it may be anybody's."""
    try:
        with open(f"/proc/{pid}/cgroup") as file:  # noqa: PTH123
            return container_id in file.read()
    except OSError:
        return False


def watch(pid: int) -> int:
    """A file that is readable when the process has ended; -1 when it is not to be seen. ``pid`` 0: it is not."""
    try:
        return os.pidfd_open(pid) if pid else -1
    except OSError:
        return -1


def wait_status(pidfd: int) -> int | None:
    """How a process that has ended did, minus the number of the signal that ended it; None while its parent has not
    reaped it, and where the kernel does not say that to those who are not its parent (before Linux 6.15)."""
    request = bytearray(_INFO.size)
    struct.pack_into("<Q", request, 0, _INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:
        return None
    fields = _INFO.unpack(request)
    return os.waitstatus_to_exitcode(fields[-1]) if fields[0] & _INFO_EXIT else None


def status_of(code: int) -> int:
    """The same from the exit code that the engine tells, in which 128 + N stands for signal N."""
    return 128 - code if 128 < code <= 128 + 64 else code


class Group:
    """The cgroups of a container, by the process that holds it."""

    __slots__ = ("_holder", "_places")

    def __init__(self, holder: int) -> None:
        self._holder = holder
        self._places: dict[str, str] = {}
        """By controller; on v2 all are the empty name."""
        try:
            with open(f"/proc/{holder}/cgroup") as file:  # noqa: PTH123
                for line in file:
                    _, controllers, path = line.rstrip("\n").split(":", 2)
                    for controller in controllers.split(","):
                        found = _directory(controller, path)
                        if found:
                            self._places[controller] = found
        except (OSError, ValueError):
            pass

    def pids(self) -> list[int]:
        """All processes but the holder."""
        return [pid for pid in self._listed() if pid != self._holder]

    def holds(self, pid: int) -> bool:
        """The process is of the container now: the kernel gives pids again."""
        return pid in self._listed()

    def cpu_us(self) -> int:
        if "cpuacct" in self._places:
            text = self._read("cpuacct", "cpuacct.usage").strip()
            return int(text) // 1000 if text.isdigit() else 0
        return _word(self._read("", "cpu.stat"), "usage_usec")

    def peak_memory(self) -> int:
        text = self._read("memory", "memory.max_usage_in_bytes") or self._read("", "memory.peak")
        return int(text) if text.strip().isdigit() else 0

    def oom_kills(self) -> int:
        """Processes that the kernel ended for memory."""
        return _word(self._read("memory", "memory.oom_control") or self._read("", "memory.events"), "oom_kill")

    def _listed(self) -> list[int]:
        for controller in ("pids", "", "memory"):
            text = self._read(controller, "cgroup.procs")
            if text:
                return list(map(int, text.split()))
        return []

    def _read(self, controller: str, name: str) -> str:
        place = self._places.get(controller)
        if place is None:
            return ""
        try:
            with open(f"{place}/{name}") as file:  # noqa: PTH123
                return file.read()
        except OSError:
            return ""


def _directory(controller: str, path: str) -> str:
    names = [controller] if controller else ["", "unified"]
    if controller in ("cpu", "cpuacct"):
        names += ["cpu,cpuacct", "cpuacct,cpu"]
    for name in names:
        found = f"/sys/fs/cgroup/{name}{path}".replace("//", "/")
        if path != "/" and os.path.exists(f"{found}/cgroup.procs"):  # noqa: PTH110
            return found
    return ""


def _word(text: str, word: str) -> int:
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == word and value.strip().isdigit():
            return int(value)
    return 0
