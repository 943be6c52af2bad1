"""The data directory: made private, and locked for as long as the server lives."""

from __future__ import annotations

import fcntl
import os
from contextlib import AsyncExitStack
from pathlib import Path

from runner_service.worker.supervisor.paths import private_directory


class DataDirectoryBusy(Exception):
    """Another server runs on the data directory."""


class DataDirectoryUnusable(Exception):
    """The data directory cannot be written, or it is everybody's."""


def take(stack: AsyncExitStack, data_dir: Path) -> None:
    """Makes the data directory and refuses a second server on it; ``stack`` gives it back.

    Raises:
        DataDirectoryBusy: Another server runs on it.
        DataDirectoryUnusable: It cannot be written, or it is used for other things too.
    """
    try:
        _refuse_shared(data_dir)
        for path in (data_dir, data_dir / "run", data_dir / "secrets"):
            private_directory(str(path))
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirectoryUnusable(
            f"cannot use the data directory {data_dir}: {error.strerror or error}; give another with --data-dir"
        ) from error
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirectoryBusy(
            f"another server runs on the data directory {data_dir}: stop it, or give --data-dir"
        ) from None


def _refuse_shared(data_dir: Path) -> None:
    """A data directory is closed to others: one that is used for something else already, such as /tmp, is not taken."""
    if not data_dir.is_dir() or not data_dir.stat().st_mode & 0o077 or (data_dir / "lock").exists():
        return
    if any(path.name != "lost+found" for path in data_dir.iterdir()):
        raise DataDirectoryUnusable(
            f"the data directory {data_dir} holds other things, and others may enter it: give one of its own by "
            "--data-dir, or chmod 700 it"
        )
