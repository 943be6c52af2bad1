"""Starts one process of a job, the cheapest way there is.

`os.posix_spawn` is a vfork with the exec's error as its result. It has no working directory, so this process, which
has one thread, goes there itself for the moment of the spawn; commands are then also looked up as the job will see
them. Every file of the supervisor is close-on-exec, so the child gets the three it is given and no other.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Mapping, Sequence

from runner_service.worker.supervisor.verdict import Refused

_null = -1
_home = -1
_SIGNALS = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""A child ignores none, as this process does SIGPIPE, and under nohup SIGHUP. The C library asks for each that is not
named here what it is, before it sets it all the same."""


def spawn(
    argv: list[str],
    environment: Mapping[str, str],
    working_directory: str,
    outputs: Sequence[int],
    *,
    stdin: int = -1,
    terminal: str = "",
    channel: int = -1,
) -> int:
    """Starts a process in a session of its own and returns its pid.

    Args:
        outputs: Its standard output and standard error. Not used with a terminal.
        stdin: Its standard input; without one it reads nothing.
        terminal: Path of the terminal that becomes its controlling terminal and all three of them.
        channel: A further file, as number 3.

    Raises:
        Refused: The working directory, the command or the size of its arguments forbids it.
        OSError: The machine has no room for another process.
        ValueError: A string holds a NUL, or a variable's name a ``=``.
    """
    global _null, _home
    if _null < 0:
        _null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        _home = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir(working_directory)
    except OSError as error:
        problem = (os.strerror(error.errno or 0)).lower()
        raise Refused("WORKING_DIRECTORY", f"chdir {working_directory}: {problem}") from None
    try:
        program = _find(argv[0], environment.get("PATH", os.defpath))
        return os.posix_spawn(
            program,
            argv,
            environment,
            file_actions=(
                *(_on_terminal(terminal) if terminal else _on_pipes(_null if stdin < 0 else stdin, *outputs)),
                *(((os.POSIX_SPAWN_DUP2, channel, 3),) if channel >= 0 else ()),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_SIGNALS,
        )
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None:
            raise
        problem = os.strerror(error.errno or 0).lower()
        raise Refused(reason, f'exec: "{argv[0]}": {problem}') from None
    finally:
        os.fchdir(_home)


def _on_pipes(stdin: int, stdout: int, stderr: int) -> Sequence[tuple[int, ...]]:
    return ((os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2))


def _on_terminal(path: str) -> Sequence[tuple[object, ...]]:
    # The leader of a new session that opens a terminal which is nobody's gets it as its controlling terminal: so this
    # needs no call between fork and exec, which posix_spawn does not have.
    return (
        (os.POSIX_SPAWN_OPEN, 0, path, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    )


_REASONS = {
    errno.ENOENT: "COMMAND_NOT_FOUND",  # The command exists (see _find): its interpreter does not.
    errno.ENOTDIR: "COMMAND_NOT_FOUND",
    errno.EACCES: "COMMAND_NOT_EXECUTABLE",
    errno.EPERM: "COMMAND_NOT_EXECUTABLE",
    errno.ENOEXEC: "COMMAND_NOT_EXECUTABLE",
    errno.ELOOP: "COMMAND_NOT_FOUND",
    errno.ENAMETOOLONG: "COMMAND_NOT_FOUND",
    errno.E2BIG: "TOO_LARGE",
}


def _find(command: str, path: str) -> str:
    """Where a command is, as a shell in the current directory would find it."""
    candidates = [command] if "/" in command else [f"{folder or '.'}/{command}" for folder in path.split(":")]
    for candidate in candidates if command else ():
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):  # noqa: PTH113
            return candidate
    forbidden = False
    for candidate in candidates if command else ():
        try:
            mode = os.stat(candidate).st_mode  # noqa: PTH116
        except OSError as error:
            forbidden = forbidden or (error.errno == errno.EACCES and "/" in command)
            continue
        forbidden = forbidden or stat.S_ISREG(mode) or "/" in command
    if forbidden:
        raise Refused("COMMAND_NOT_EXECUTABLE", f'exec: "{command}": permission denied')
    raise Refused("COMMAND_NOT_FOUND", f'exec: "{command}": executable file not found in $PATH')
