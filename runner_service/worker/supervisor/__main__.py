"""``python -I -S …/supervisor/__main__.py --directory DIR [--idle-exit SECONDS] [--spool-limit BYTES]
    [--cgroup no] [--job-cpus N] [--job-memory BYTES] [--job-processes N]``

Writes ``ready`` to stdout when its socket listens. Exit codes: 0 done, 2 wrong arguments, 3 another supervisor has
this directory, 1 anything else, with a traceback on stderr. Options are parsed by hand: argparse costs 1.6 MB.
"""

from __future__ import annotations

import os
import sys

if not __package__:  # Started by its path, so that nothing else need be importable.
    sys.path.insert(0, os.path.abspath(f"{__file__}/../../../.."))  # noqa: PTH100

from runner_service.worker.supervisor import guard, hierarchies, paths
from runner_service.worker.supervisor.cells import Limits
from runner_service.worker.supervisor.hierarchies import Places

ALREADY_RUNNING = 3
WRONG_ARGUMENTS = 2
LOCK_SECONDS = 21.0
"""A little more than a guard needs at most to clean up after a dead supervisor."""


def main(arguments: list[str]) -> int:
    options = {
        "--directory": "", "--idle-exit": "30", "--spool-limit": str(4 << 30), "--cgroup": "yes", "--job-cpus": "0",
        "--job-memory": "0", "--job-processes": "0",
    }  # fmt: skip
    known = len(options)
    options.update(zip(arguments[::2], arguments[1::2], strict=False))
    try:
        idle_exit, spool_limit = float(options["--idle-exit"]), int(options["--spool-limit"])
        limits = Limits(
            float(options["--job-cpus"]), int(options["--job-memory"]), int(options["--job-processes"])
        )  # fmt: skip
    except ValueError:
        idle_exit, spool_limit, limits = -1.0, 0, Limits()
    if not options["--directory"] or len(options) > known or len(arguments) % 2 or idle_exit < 0:
        sys.stderr.write(f"{__doc__}\n")
        return WRONG_ARGUMENTS
    # What the worker's parents left open, e.g. a lock or a pipe of a shell, must not live on in every job.
    os.closerange(3, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)  # noqa: PTH208
    layout = paths.Layout(options["--directory"])
    layout.make()
    socket = paths.socket_path(layout.directory)
    lock = _lock(layout.lock, socket)
    if lock < 0:
        sys.stderr.write(f"another supervisor has {layout.directory}\n")
        return ALREADY_RUNNING
    os.chdir("/")
    os.umask(0o022)
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    places = hierarchies.make_places() if options["--cgroup"] != "no" else Places()
    return guard.run(
        places,
        lambda: _serve(layout, socket, places, limits, idle_exit, spool_limit),
        lambda: _remove_containers(layout),
    )


def _serve(
    layout: paths.Layout, socket: str, places: Places, limits: Limits, idle_exit: float, spool_limit: int
) -> None:
    # Imported in the child only: the guard stays as small as it can.
    import json

    from runner_service.worker.supervisor import linux, realm
    from runner_service.worker.supervisor.server import Supervisor

    linux.become_subreaper()
    linux.hurry(False)
    boot_id = linux.boot_id()
    try:
        before = json.loads(linux.read(layout.cgroup_note))
    except (OSError, ValueError):
        before = {}
    if before.get("places") and before.get("boot_id") == boot_id:
        guard.end_all(Places(*before["places"]))
    with open(os.open(layout.cgroup_note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as note:  # noqa: PTH123
        json.dump({"pid": os.getpid(), "boot_id": boot_id, "places": places}, note)
    supervisor = Supervisor(
        layout,
        boot_id=boot_id,
        realm=realm.enter(places.unified),
        cells=hierarchies.open_cells(places, limits),
        idle_exit_seconds=idle_exit,
        spool_limit=spool_limit,
    )
    supervisor.adopt_spools(supervisor.spools.recover(guard.end_marked))
    _remove_containers(layout)  # After the pilots were ended, which may have been making one.
    _spare_what_stays()
    supervisor.serve(socket, _tell_ready)


def _spare_what_stays() -> None:
    """Has the garbage collector pass over what lives as long as this process, and look at the rest less often."""
    import gc

    gc.freeze()
    gc.set_threshold(2_000, 10, 10)  # With more, the garbage of floods of short commands would be 1 MB.


def _remove_containers(layout: paths.Layout) -> None:
    """Those that pilots which were killed have left. Nothing is loaded where there never was one."""
    if os.path.exists(layout.engine_note):  # noqa: PTH110
        from runner_service.worker.supervisor.container import leftovers

        leftovers.remove_noted(layout.engine_note)


def _tell_ready() -> None:
    try:
        os.write(1, b"ready\n")
    except OSError:
        pass  # Nobody waits for it.
    guard.to_null(0, 1)


def _lock(path: str, socket: str) -> int:
    """Takes the lock of the directory; -1 when a living supervisor has it."""
    import fcntl
    from time import monotonic, sleep

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if monotonic() > deadline or _answers(socket):
                return -1
        sleep(0.01)


def _answers(path: str) -> bool:
    from _socket import AF_UNIX, SOCK_STREAM, socket

    probe = socket(AF_UNIX, SOCK_STREAM)
    try:
        probe.connect(path)
    except OSError:
        return False
    finally:
        probe.close()
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
