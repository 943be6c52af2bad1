"""What the command line says on stderr when something is wrong, and its exit codes.

``runner: <what> — <what to do>``, one line, never a traceback.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runner_client.cli.printable import printable

if TYPE_CHECKING:
    from runner_client.errors import ClientError

FAILED = 1
"""The call failed."""
USAGE = 2
"""The command line is wrong, or the command is not installed."""
TIMED_OUT = 124
"""The job ran out of time."""
UNKNOWN = 125
"""Nobody can tell how the job ended: a fault of the service or of a runner, or the server is away."""
NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNAL_BASE = 128
"""Plus the number of the signal that ended the command."""
INTERRUPTED = 130
"""Cancelled, or left by Ctrl-C."""
BROKEN_PIPE = 141
"""Whoever read stdout or stderr has gone: what a shell shows for SIGPIPE."""


class CommandLineError(Exception):
    """Something a person can put right: printed as a sentence with what to do about it."""

    def __init__(self, what: str, advice: str = "", *, code: int = FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.code = code


def complain(what: str, advice: str = "", *, line_end: str = "\n") -> None:
    """Writes one line to stderr; nothing happens when nobody reads it."""
    sentence = what.rstrip()
    if advice:
        sentence = f"{sentence.removesuffix('.')} — {advice}"
    write_stderr(f"runner: {printable(sentence)}{line_end}")


def write_stderr(text: str) -> None:
    """Writes to stderr at once; nothing happens when nobody reads it."""
    try:
        os.write(2, text.encode(errors="replace"))
    except OSError:
        pass  # stderr is closed: there is nobody to tell


def advice_for(error: ClientError, server: str) -> str:
    """Says what to do about an error of a call; empty when the server's own sentence says it."""
    from runner_client import errors

    match error:
        case errors.Unavailable(reason="UNAVAILABLE"):  # A server that answers says why by itself.
            return "start one with `runner serve`, or name another with --server HOST:PORT or RUNNER_SERVER"
        case errors.Unauthenticated():
            return "pass a key with --token or RUNNER_TOKEN"
        case errors.PermissionDenied():
            return "use a key with the role that it needs, with --token or RUNNER_TOKEN"
        case errors.DeadlineExceeded():
            return f"try again, and look at the server's log if {server} stays silent"
        case errors.InvalidTls():
            return "see --tls-ca, --tls-cert and --tls-key"
        case errors.InvalidTarget():
            return "name the server with --server or RUNNER_SERVER"
    return ""


def complain_of(error: ClientError, server: str) -> None:
    """Writes the line for an error of a call."""
    from runner_client import errors

    what = error.message
    if type(error) is errors.Unavailable and error.reason == "UNAVAILABLE":
        # gRPC names each layer that failed; the innermost says it all.
        what = f"no server answers at {server} ({what.rsplit(': ', 1)[-1].rstrip('.]')})"
    for violation in error.violations:
        if violation.field not in what:
            what = f"{what.rstrip('.')}; {violation.field}: {violation.description}"
    complain(what, advice_for(error, server))
