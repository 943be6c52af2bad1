"""Who this worker is: ``DATA/worker/{identity,session,lock}``. No gRPC here: the server imports it too.

The lock is held for the life of the worker process and names it, so that a server that starts again finds the local
worker that outlived it and starts no second one.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from runner_service.domain.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a registration gave this machine."""

    runner_id: str
    credential: str
    """For ``authorization: Bearer …``. Kept here alone: the server has a hash."""
    server: str = ""
    """Where it holds: the target that was dialled. Credentials are not shown to other servers."""

    def holds_at(self, target: str) -> bool:
        """Tells whether it may be used at ``target``. All local sockets are one place: a data directory may move."""
        return not self.server or self.server == target or (is_local(self.server) and is_local(target))


def is_local(target: str) -> bool:
    """Tells whether a gRPC target is a socket of this machine's file system."""
    return target.startswith("unix:")


def worker_directory(data_directory: Path) -> Path:
    """The worker's own part of a data directory, made private when it is not there."""
    path = data_directory / "worker"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def load_identity(data_directory: Path) -> Identity | None:
    """The stored identity; None when there is none that can be read."""
    try:
        stored = json.loads((data_directory / "worker" / "identity").read_text())
        return Identity(
            runner_id=str(stored["runner_id"]),
            credential=str(stored["credential"]),
            server=str(stored.get("server", "")),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


REGISTRATION_PREFIX = "reg_token_"
"""Of a join token that stands for a runner which is registered already: the worker becomes that runner's."""


def identity_of_token(token: str, target: str) -> Identity | None:
    """The identity that a registration token holds; None for any other token."""
    credential = token.removeprefix(REGISTRATION_PREFIX)
    parts = credential.split("_", 2)
    if credential == token or len(parts) != 3 or parts[0] != "rw":
        return None
    return Identity(runner_id=parts[1], credential=credential, server=target)


def store_identity(data_directory: Path, identity: Identity) -> None:
    """Writes the identity, 0600, so that a crash leaves the old one or the new one."""
    _replace(worker_directory(data_directory) / "identity", json.dumps(asdict(identity)))


def registration_id(data_directory: Path, target: str) -> str:
    """The request id of a registration at ``target`` that has not ended, made when there is none: a worker that dies
    before it has stored its identity is the same runner when it comes back."""
    path = worker_directory(data_directory) / "registration"
    try:
        request_id, _, where = path.read_text().partition(" ")
        if request_id and where == target:
            return request_id
    except (FileNotFoundError, ValueError):
        pass
    request_id = uuid.uuid4().hex
    _replace(path, f"{request_id} {target}")
    return request_id


def end_registration(data_directory: Path) -> None:
    """The next registration is another one."""
    (worker_directory(data_directory) / "registration").unlink(missing_ok=True)


def next_session_id(data_directory: Path) -> str:
    """A UUIDv7 above every one this data directory has used, also when the clock was set back: of two sessions the
    server serves the one that sorts last."""
    path = worker_directory(data_directory) / "session"
    session = new_id()
    try:
        last = path.read_text()
        if session <= last:
            session = str(uuid.UUID(int=uuid.UUID(last).int + 1))
    except (FileNotFoundError, ValueError):
        pass
    _replace(path, session)
    return session


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)
    # The new name too outlives a loss of power: what it replaces may be void by then.
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class WorkerAlive(Exception):
    """Another worker (process {pid}) lives on this data directory. Stop it, or choose another --data-dir."""

    def __init__(self, pid: int) -> None:
        super().__init__(
            f"Another worker (process {pid}) lives on this data directory. Stop it, or choose another --data-dir."
        )
        self.pid = pid


class WorkerLock:
    """The lock of one data directory, held while the context is open; the kernel gives it up with the process."""

    def __init__(self, data_directory: Path) -> None:
        self._path = worker_directory(data_directory) / "lock"
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Raises `WorkerAlive`."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A server that looks for its worker holds the lock for an instant: try more than once.
        for _ in range(20):
            if _try_lock(descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
                self._descriptor = descriptor
                return self
            time.sleep(0.005)
        pid = _holder(descriptor)
        os.close(descriptor)
        raise WorkerAlive(pid)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def local_worker_is_alive(data_directory: Path) -> int | None:
    """The process id of the worker that lives on this data directory; None when there is none.

    The id is 0 in the instant in which a worker has taken the lock and not yet written its id.
    """
    try:
        descriptor = os.open(data_directory / "worker" / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(descriptor) else _holder(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
