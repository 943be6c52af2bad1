"""The first process of every container: it waits, and leaves no zombies.

Steps are executed beside it, so that none of them is process 1 of the container, for which the kernel ignores most
signals, and so that the container's cgroup can still be read when a step has ended. It has to run in any image, also
in one without a shell, so it is a program of its own, without libraries: ``sigaction(SIGCHLD, SIG_IGN)``, then
``pause`` for ever. Made from these bytes because the machine that runs jobs has no compiler.
"""

from __future__ import annotations

import os
import struct

_BASE = 0x400000
_HEADERS = 64 + 56
_ACTION = struct.pack("<QQQQ", 1, 0, 0, 0)
"""struct sigaction of the kernel: SIG_IGN, no flags, no restorer, no mask."""
_SIGCHLD = 17


def _x86_64() -> bytes:
    before = bytes.fromhex("b80d000000 bf11000000")  # mov eax, 13 (rt_sigaction); mov edi, 17
    lea = bytes.fromhex("488d35")  # lea rsi, [rip + …]
    after = bytes.fromhex("31d2 41ba08000000 0f05")  # xor edx, edx; mov r10d, 8; syscall
    loop = bytes.fromhex("b822000000 0f05 ebf7")  # mov eax, 34 (pause); syscall; jmp back
    return before + lea + struct.pack("<i", len(after) + len(loop)) + after + loop + _ACTION


def _aarch64() -> bytes:
    def mov(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    trap = 0xD4000001
    # adr x1, …: the action stands behind the sixteen instructions, of which this is the third.
    adr = 0x10000001 | (16 - 2) * 4 >> 2 << 5
    call = [mov(8, 134), mov(0, _SIGCHLD), adr, mov(2, 0), mov(3, 8), trap]  # rt_sigaction
    wait = [mov(0, 0), mov(1, 0), mov(2, 0), mov(3, 0), mov(4, 0), mov(8, 73), trap]  # ppoll
    words = [*call, *wait, 0x14000000 | -len(wait) & 0x3FFFFFF, 0xD503201F, 0xD503201F]  # b back; nop; nop
    return struct.pack("<16I", *words) + _ACTION


_MACHINES = {"x86_64": (62, _x86_64), "aarch64": (183, _aarch64)}
"""Their number in ELF."""


def supported() -> bool:
    """Tells whether there is one for this machine."""
    return os.uname().machine in _MACHINES


def program(machine: str) -> bytes:
    """The executable file. Raises KeyError for another machine."""
    number, code_of = _MACHINES[machine]
    code = code_of()
    size = _HEADERS + len(code)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    elf = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return head + elf + segment + code


def install(directory: str) -> str:
    """Puts it into ``directory``, unless it is there, and returns its path. Raises OSError."""
    path = f"{directory}/holder"
    data = program(os.uname().machine)
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            if file.read() == data:
                return path
    except FileNotFoundError:
        pass
    new = f"{path}.{os.getpid()}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o755)
    try:
        os.write(fd, data)
        os.fchmod(fd, 0o755)
    finally:
        os.close(fd)
    os.rename(new, path)  # noqa: PTH104
    return path
