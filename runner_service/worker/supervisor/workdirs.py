"""Fresh working directories, cheaply.

Making and removing one costs 200 µs here, renaming one 12: an attempt that leaves its directory as it got it, as most
commands do, leaves it for the next. Anything else in it is moved to the trash, which a helper process deletes,
because everybody would wait while the supervisor did.
"""

from __future__ import annotations

import os
import stat

from runner_service.worker.supervisor.paths import Layout

MAX_SPARE = 64


class WorkDirectories:
    """The directories below DIR/work."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._spare: list[str] = []
        self._count = 0

    def take(self, attempt_id: str, staged: str = "") -> str:
        """A directory for an attempt: an empty one, or the one that was staged for it."""
        path = self._layout.working_directory(attempt_id)
        if staged:
            os.rename(staged, path)  # noqa: PTH104
        elif self._spare:
            os.rename(self._spare.pop(), path)  # noqa: PTH104
        else:
            os.mkdir(path, 0o700)  # noqa: PTH102
        return path

    def give_back(self, attempt_id: str, *, keep: bool = False) -> bool:
        """Takes back the directory of an ended attempt, if it had one; True when it went to the trash. One that is to
        be kept goes where nobody removes it."""
        path = f"{self._layout.work}/{attempt_id}"
        self._count += 1
        try:
            if keep:
                os.makedirs(self._layout.kept, 0o700, exist_ok=True)  # noqa: PTH103
                os.rename(path, f"{self._layout.kept}/{attempt_id}")  # noqa: PTH104
                return False
            if len(self._spare) < MAX_SPARE and self._as_new(path):
                spare = f"{self._layout.work}/.spare-{self._count}"
                os.rename(path, spare)  # noqa: PTH104
                self._spare.append(spare)
            else:
                self._discard(path)
                return True
        except FileNotFoundError:
            pass
        return False

    def sweep(self, keep: set[str]) -> None:
        """Moves to the trash whatever belongs to none of these attempts."""
        for name in os.listdir(self._layout.work):  # noqa: PTH208
            if name not in keep:
                self._discard(f"{self._layout.work}/{name}")

    def _discard(self, path: str) -> None:
        self._count += 1
        os.rename(path, f"{self._layout.trash}/{os.getpid()}-{self._count}")  # noqa: PTH104

    def _as_new(self, path: str) -> bool:
        """Empty, and still as it was made."""
        status = os.lstat(path)
        return (
            stat.S_ISDIR(status.st_mode)
            and stat.S_IMODE(status.st_mode) == 0o700
            and status.st_uid == os.geteuid()
            and not os.listdir(path)  # noqa: PTH208
        )
