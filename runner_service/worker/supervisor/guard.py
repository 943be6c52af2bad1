"""What makes sure that no job outlives its supervisor, even when both it and its worker are killed with -9.

The process that is started is the guard; the supervisor is its child. The guard is a subreaper and does nothing but
wait: when the supervisor is gone, whatever it left becomes a child of the guard, which ends it all and goes too.
PR_SET_PDEATHSIG would not do: it needs code between fork and exec in every child, and grandchildren do not inherit it.
The guard keeps the lock of the directory until it has cleaned up, so the next supervisor starts on clean ground.
When the guard itself is killed, its supervisor goes on; should that be killed too, the next one cleans up after it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from time import monotonic, sleep

from runner_service.worker.supervisor import hierarchies, linux
from runner_service.worker.supervisor.hierarchies import Places

CLEAN_UP_SECONDS = 10.0
_PAUSE_SECONDS = 0.002


def run(places: Places, serve: Callable[[], None], remove_more: Callable[[], None]) -> int:
    """Runs ``serve`` in a child and returns its exit code when nothing of it, and nothing in its cgroups, is left.
    ``remove_more`` is called then, for what is elsewhere."""
    linux.become_subreaper()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            serve()
            code = 0
        finally:
            if code:
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
            os._exit(code)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _forward(child))
    to_null(0, 1)
    _, status = os.waitpid(child, 0)
    end_all(places)
    remove_more()
    return max(os.waitstatus_to_exitcode(status), -1) & 0xFF


def end_all(places: Places) -> None:
    """Ends every descendant of this process and everything in these cgroups, and removes them."""
    deadline = monotonic() + CLEAN_UP_SECONDS
    while monotonic() < deadline:
        hierarchies.empty(places)
        if _reap_all() and hierarchies.remove(places):
            return
        for found in linux.descendants(os.getpid()):
            try:
                os.kill(found.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        sleep(_PAUSE_SECONDS)


def end_marked(attempt_ids: set[str]) -> None:
    """Ends every process on this machine whose environment names one of these attempts."""
    deadline = monotonic() + CLEAN_UP_SECONDS
    found = True
    while found and monotonic() < deadline:
        found = False
        for pid in linux.all_pids():
            if linux.environment_value(pid, b"RUNNER_ATTEMPT_ID") in attempt_ids and pid != os.getpid():
                try:
                    os.kill(pid, signal.SIGKILL)
                    found = True
                except (ProcessLookupError, PermissionError):
                    pass
        sleep(_PAUSE_SECONDS)


def to_null(*fds: int) -> None:
    """Lets these files be nothing."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in fds:
        os.dup2(null, fd)
    os.close(null)


def _forward(child: int) -> None:
    try:
        os.kill(child, signal.SIGTERM)
    except ProcessLookupError:
        pass


def _reap_all() -> bool:
    """Reaps what is dead; True when there is no child left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False
