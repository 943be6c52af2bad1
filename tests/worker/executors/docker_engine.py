"""A Docker engine of the tests' own: dockerd on a unix socket in a fresh directory, with one image of busybox."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner_service.worker.supervisor.container.engine import Engine, EngineAway

IMAGE = "bb:1"
_BUSYBOX = (Path("/usr/bin/busybox"), Path("/bin/busybox"))
_APPLETS = "sh cat sleep head printf kill ls id env true false seq wc stty dd pwd echo test mkdir touch tail nproc stat"
_SECONDS = 90.0


def missing() -> str:
    """The tool without which there is no engine here; empty: none is missing."""
    if os.geteuid() != 0:
        return "root, for dockerd"
    for tool in ("dockerd", "containerd", "runc"):
        if shutil.which(tool) is None:
            return tool
    if _busybox() is None:
        return "busybox-static"
    return ""


def _busybox() -> Path | None:
    """One that needs no library, for it has to run in an empty image."""
    return next((path for path in _BUSYBOX if path.exists() and b"/ld-linux" not in path.read_bytes()[:4096]), None)


class DockerdFails(Exception):
    """What it says last."""


class Dockerd:
    """The daemon; it can be stopped and started again."""

    def __init__(self, directory: Path, *, live_restore: bool = False) -> None:
        """``live_restore``: with a containerd of its own, so that containers outlive it (`kill_alone`)."""
        self._directory = directory
        self._live_restore = live_restore
        self._containerd: subprocess.Popen[bytes] | None = None
        self.socket = str(directory / "s")
        self.engine = Engine(self.socket)
        self._process: subprocess.Popen[bytes] | None = None
        settings = {
            "data-root": str(directory / "data"), "exec-root": str(directory / "exec"),
            "pidfile": str(directory / "pid"), "hosts": [f"unix://{self.socket}"],
            "iptables": False, "ip6tables": False, "bridge": "none", "ip-forward": False, "ip-masq": False,
            "cgroup-parent": f"/{directory.name}", "userland-proxy": False,
        }  # fmt: skip
        if live_restore:
            settings |= {"live-restore": True, "containerd": str(self._containerds / "s")}
        (directory / "daemon.json").write_text(json.dumps(settings))

    @property
    def _containerds(self) -> Path:
        return self._directory / "exec" / "c"

    def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            if self._live_restore and self._containerd is None:
                place = self._containerds
                place.mkdir(parents=True)
                options = [
                    "--root",
                    str(place / "root"),
                    "--state",
                    str(place / "state"),
                    "--address",
                    str(place / "s"),
                ]
                self._containerd = subprocess.Popen(["containerd", *options], stdout=log, stderr=log)
            self._process = subprocess.Popen(
                ["dockerd", "--config-file", str(self._directory / "daemon.json")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                self.engine.call("GET", "/version")
                return
            except EngineAway:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise DockerdFails((self._directory / "log").read_text()[-500:]) from None
                time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """With SIGKILL the way a machine loses it; what it leaves is cleared away, so that it can start again."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None
        if number is signal.SIGKILL:
            self._clear()

    def kill_alone(self) -> None:
        """kill -9 of it, and not of its containers, which it takes over when it starts again."""
        assert self._live_restore and self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        (self._directory / "pid").unlink(missing_ok=True)

    def close(self) -> None:
        self.stop()
        if self._containerd is not None:
            self._containerd.terminate()
            self._containerd.wait()
        self._clear()
        deadline = time.monotonic() + _SECONDS
        while not self._cgroups_are_gone():
            assert time.monotonic() < deadline, "cgroups of containers do not go"
            time.sleep(0.05)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _clear(self) -> None:
        deadline = time.monotonic() + _SECONDS
        while (
            left := self._processes()
        ) and time.monotonic() < deadline:  # Its containerd, and the shims of containers.
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((path for path in mounts if path.startswith(f"{self._directory}/")), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        (self._directory / "pid").unlink(missing_ok=True)
        shutil.rmtree(self._directory / "exec", ignore_errors=True)

    def _cgroups_are_gone(self) -> bool:
        """Those of containers that lost their shim are removed, as soon as what was in them has died."""
        try:
            tops = list(Path("/sys/fs/cgroup").glob(f"**/{self._directory.name}"))
            for top in tops:
                for cgroup in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                    cgroup.rmdir()
                top.rmdir()
        except OSError:  # Somebody is in it yet, or has removed it meanwhile.
            return False
        return True

    def _processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if f"{self._directory}/exec".encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    pass
        return found + self._contained()

    def _contained(self) -> list[int]:
        """What lives in its containers, which it may not have taken along."""
        found = []
        for file in Path("/sys/fs/cgroup").glob(f"*/{self._directory.name}/**/cgroup.procs"):
            try:
                found += map(int, file.read_text().split())
            except OSError:  # It has just been removed.
                pass
        return found

    def load(self) -> None:
        """Imports the image."""
        busybox = _busybox()
        assert busybox is not None
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(busybox, "bin/busybox")
            for name in _APPLETS.split():
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            words = b"root:x:0:0::/root:/bin/sh\nworker:x:1234:1234::/:/bin/sh\n"
            entry = tarfile.TarInfo("etc/passwd")
            entry.size = len(words)
            tar.addfile(entry, io.BytesIO(words))
        changes = ["-c", 'CMD ["/bin/sh", "-c", "echo own command"]', "-c", "ENV PATH=/bin IMAGE=yes"]
        subprocess.run(
            ["docker", "--host", f"unix://{self.socket}", "import", *changes, "-", IMAGE],
            input=file.getvalue(), check=True, capture_output=True,
        )  # fmt: skip

    def containers(self) -> list[str]:
        """Names of all there are."""
        found = self.engine.call("GET", "/containers/json?all=1") or []
        return [name.lstrip("/") for container in found for name in container["Names"]]


@contextmanager
def dockerd(*, live_restore: bool = False) -> Iterator[Dockerd]:
    """Starts one; skips, saying which tool, where none can be."""
    if tool := missing():
        pytest.skip(f"needs {tool}")
    directory = Path(tempfile.mkdtemp(prefix="dockerd-"))  # A short path: that of a socket has 107 bytes.
    daemon = Dockerd(directory, live_restore=live_restore)
    try:
        try:
            daemon.start()
        except DockerdFails as error:
            pytest.skip(f"dockerd does not start here: {error}")
        daemon.load()
        yield daemon
    finally:
        daemon.close()
