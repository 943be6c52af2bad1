"""A machine of the tests' own, whose power can be cut: QEMU, a kernel of Debian's, and the files of this machine.

It needs no KVM. Its root is this machine's by virtiofs, read-only, so it has the same Python, packages and sources;
what it writes is in memory (TMPDIR) or on the disk that it is given, at /mnt. All controllers are on cgroup v2, at
/sys/fs/cgroup. It runs one command and says on the serial console with which code that ended.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

WANTED = "RUNNER_TESTS_MACHINE"
"""Set where these tests are to run."""
KERNELS = (Path("/var/lib/runner-tests/kernel"), Path("/"))
"""Where a Debian package `linux-image-…-cloud-amd64` was unpacked or installed."""
VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")
PATIENCE = 1800.0
"""Instructions are translated, and everything takes twenty times as long as here, which may be busy, too."""
_BUSYBOX = (Path("/usr/bin/busybox"), Path("/bin/busybox"))
# In the order in which they need each other.
_MODULES = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "fuse",
    "virtiofs",
)  # fmt: skip
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in MODULES; do insmod /lib/$module.ko; done
mount -t virtiofs -o ro root /root
mount -t proc proc /root/proc
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/shm /root/dev/pts
mount -t tmpfs tmpfs /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t sysfs sysfs /root/sys
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
[ ! -e /dev/vda ] || mount -t ext4 /dev/vda /root/mnt
ip link set lo up
export HOME=/dev/shm TMPDIR=/dev/shm PYTHONDONTWRITEBYTECODE=1 PATH=/usr/local/bin:/usr/bin:/bin
chroot /root /bin/sh -c "$(cat /command)" < /dev/null
code=$?
export PATH=/bin
echo "machine: exit $code"
sync
reboot -f
"""


class _Tools(NamedTuple):
    qemu: str
    busybox: Path
    kernel: Path
    modules: Path


def _tools() -> _Tools | str:
    if os.geteuid() != 0:
        return "root, for virtiofsd,"
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None or not VIRTIOFSD.exists():
        return "qemu-system-x86 (Debian package)"
    if shutil.which("mke2fs") is None:
        return "e2fsprogs (Debian package)"
    # One that needs no library, for nothing else is there before the root is.
    busybox = next((path for path in _BUSYBOX if path.exists() and b"/ld-linux" not in path.read_bytes()[:4096]), None)
    if busybox is None:
        return "busybox-static (Debian package)"
    for place in KERNELS:
        for kernel in sorted(place.glob("boot/vmlinuz-*-cloud-amd64")):
            modules = place / "lib/modules" / kernel.name.removeprefix("vmlinuz-") / "kernel"
            if modules.is_dir():
                return _Tools(qemu, busybox, kernel, modules)
    return "linux-image-cloud-amd64 (Debian package)"


def make_disk(path: Path, mebibytes: int = 256) -> None:
    """An empty file system for a machine."""
    with path.open("wb") as file:
        file.truncate(mebibytes << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(path)], check=True)


def _why_not() -> str:
    if not os.environ.get(WANTED):
        return f"{WANTED} is not set: it takes minutes"
    found = _tools()
    return f"{found} is not installed" if isinstance(found, str) else ""


needs_machine = pytest.mark.skipif(bool(_why_not()), reason=_why_not())


class Machine:
    """One that is running."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process = process
        self._console = console

    def text(self) -> str:
        """All that it has said."""
        return self._console.read_text(errors="replace").replace("\r", "")

    def says(self, word: str) -> str:
        """Waits for a line that begins with a word, and returns the rest of it."""

        def found() -> str | None:
            lines = self.text().splitlines(keepends=True)
            return next(
                (line[len(word) :].strip() for line in lines if line.startswith(word) and line[-1] == "\n"), None
            )

        def over() -> bool:
            return found() is not None or self._process.poll() is not None

        _wait(over, self.text)
        said = found()
        assert said is not None, f"it ended without: {word}\n{self.text()}"
        return said

    def exit_code(self) -> int:
        """Waits for the end of its command, and for its own."""
        code = int(self.says("machine: exit "))
        self._process.wait(PATIENCE)
        return code

    def cut_power(self) -> None:
        """Whatever it has not written to its disk is gone."""
        self._process.kill()
        self._process.wait(PATIENCE)


@contextmanager
def boot(command: str, *, disk: Path | None = None, mebibytes: int = 768) -> Iterator[Machine]:
    """Starts a machine that runs a command of the shell."""
    tools = _tools()
    assert isinstance(tools, _Tools), tools
    with tempfile.TemporaryDirectory(prefix="machine-") as name:
        directory = Path(name)  # Short enough for a socket.
        _make_initramfs(tools, directory, command)
        socket, console = directory / "root", directory / "console"
        memory = f"memory-backend-memfd,id=memory,size={mebibytes}M,share=on"
        arguments = [
            tools.qemu, "-accel", "tcg,thread=multi,tb-size=512", "-M", "q35,memory-backend=memory", "-smp", "2",
            "-m", str(mebibytes), "-object", memory, "-nodefaults", "-no-reboot", "-display", "none",
            "-serial", "stdio",
            "-kernel", str(tools.kernel), "-initrd", str(directory / "initramfs"),
            "-append", "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off",
            "-chardev", f"socket,id=root,path={socket}", "-device", "vhost-user-fs-pci,chardev=root,tag=root",
            *(("-drive", f"file={disk},format=raw,if=virtio") if disk is not None else ()),
        ]  # fmt: skip
        files = subprocess.Popen(
            [VIRTIOFSD, f"--socket-path={socket}", "-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        process = None
        try:
            _wait(socket.exists, lambda: "virtiofsd does not listen")
            with console.open("wb") as file:
                process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
            yield Machine(process, console)
        finally:
            for one in (process, files):
                if one is not None:
                    one.send_signal(signal.SIGKILL)
                    one.wait(PATIENCE)


def _make_initramfs(tools: _Tools, directory: Path, command: str) -> None:
    root = directory / "first"
    for name in ("bin", "dev", "lib", "proc", "root"):
        (root / name).mkdir(parents=True)
    shutil.copy(tools.busybox, root / "bin/busybox")
    for module in _MODULES:
        (found,) = tools.modules.rglob(f"{module}.ko")
        shutil.copy(found, root / "lib")
    (root / "init").write_text(_INIT.replace("MODULES", " ".join(_MODULES)))
    (root / "init").chmod(0o755)
    (root / "command").write_text(command)
    listed = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        [tools.busybox, "cpio", "-o", "-H", "newc"], cwd=root, input=listed.encode(), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    (directory / "initramfs").write_bytes(packed.stdout)


def _wait(true: Callable[[], object], say: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"waited in vain:\n{say()}"
        time.sleep(0.05)
