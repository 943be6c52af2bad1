"""The files of attempts: made at their start, read when a supervisor starts, deleted when they are forgotten."""

from __future__ import annotations

import os
from collections.abc import Callable

from runner_service.domain.logs import JournalCorrupt, LogStream, decode
from runner_service.worker.supervisor import verdict, wire
from runner_service.worker.supervisor.digest import Digest
from runner_service.worker.supervisor.index import Index
from runner_service.worker.supervisor.journal import START, Base, Journal
from runner_service.worker.supervisor.paths import Layout
from runner_service.worker.supervisor.wire import Known, Message
from runner_service.worker.supervisor.workdirs import WorkDirectories


class Spools:
    """The attempts of one directory as they lie on disk."""

    def __init__(self, layout: Layout, boot_id: str) -> None:
        self._layout = layout
        self._boot_id = boot_id
        self._index = Index(layout.index, boot_id)
        self._work = WorkDirectories(layout)

    @property
    def spool_id(self) -> str:
        """See `Index.spool_id`."""
        return self._index.spool_id

    def create(self, attempt_id: str, fence: int, log_limit: int) -> Journal:
        """Makes the spool of an attempt, before anything of it runs.

        Raises:
            OSError: There is no room.
        """
        self._index.start(attempt_id, fence)
        return Journal(self._layout.journal(attempt_id), log_limit)

    def working_directory(self, attempt_id: str, staged: str = "") -> str:
        """A fresh one, or the one that was staged for it."""
        return self._work.take(attempt_id, staged)

    def base(self, attempt_id: str, base: Base) -> None:
        """Remembers that the journal below ``base`` may be gone."""
        self._index.base(attempt_id, base)

    def finish(self, known: Known) -> None:
        """Makes an end outlive this process."""
        self._index.end(known)

    def delete(self, attempt_id: str, *, keep: bool = False) -> bool:
        """Deletes journal and working directory, unless that is to be kept; True when there is something in the
        trash."""
        try:
            os.unlink(self._layout.journal(attempt_id))  # noqa: PTH108
        except FileNotFoundError:
            pass
        self._index.forget(attempt_id)
        return self._work.give_back(attempt_id, keep=keep)

    def trash(self) -> list[str]:
        return [f"{self._layout.trash}/{name}" for name in os.listdir(self._layout.trash)]  # noqa: PTH208

    def recover(self, end_leftovers: Callable[[set[str]], None]) -> list[Known]:
        """Reads what an earlier supervisor left, and takes over.

        Attempts without an end had a supervisor that died: ``end_leftovers`` is called once with their ids, has to
        leave no process of them, and then they are LOST.
        """
        begun, known = self._index.read()
        if begun:
            end_leftovers(set(begun))
        for attempt_id, fact in begun.items():
            known.append(self._lost(attempt_id, fact))
        self._index.begin(known)
        self._work.sweep({one.attempt_id for one in known})
        keep = {f"{one.attempt_id}.journal" for one in known}
        for name in os.listdir(self._layout.spool):  # noqa: PTH208
            if name not in keep:
                os.unlink(f"{self._layout.spool}/{name}")  # noqa: PTH108
        return known

    def _lost(self, attempt_id: str, fact: Message) -> Known:
        rebooted = fact["boot_id"] != self._boot_id
        outcome = verdict.make("LOST", detail="machine_rebooted" if rebooted else "supervisor_died")
        base = Base(**fact["base"]) if "base" in fact else START
        size, seal = seal_what_is_there(self._layout.journal(attempt_id), base)
        return Known(
            attempt_id, fact["fence"], wire.ENDED, size, 0, 0, outcome, seal, base.offset, base.records
        )  # fmt: skip


def seal_what_is_there(path: str, base: Base) -> tuple[int, Message]:
    """Cuts off a torn last frame and says what the whole log is, without the hash when only the rest is there."""
    records, offset = base.records, base.offset
    sizes = {LogStream.STDOUT: base.stdout_bytes, LogStream.STDERR: base.stderr_bytes}
    earlier: list[bytes] = []
    digest = Digest(lambda: earlier)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while piece := os.pread(fd, 1 << 20, offset):
            used = 0
            try:
                for record, behind in decode(piece):
                    used = behind
                    digest.update(record.data)
                    if digest.replays:
                        earlier.append(record.data)
                    # As the journal counts: whatever is output but not standard error is standard output.
                    counted = LogStream.STDERR if record.stream is LogStream.STDERR else LogStream.STDOUT
                    sizes[counted] += len(record.data)
                    records = record.sequence + 1
            except JournalCorrupt:
                pass
            offset += used
            if not used:
                break
        os.ftruncate(fd, offset)
    finally:
        os.close(fd)
    return offset, {
        "records": records,
        "stdout_bytes": sizes[LogStream.STDOUT],
        "stderr_bytes": sizes[LogStream.STDERR],
        "sha256": "" if base.offset else digest.hexdigest(),
    }
