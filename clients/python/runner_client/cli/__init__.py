"""The command line, `runner`.

Start-up is counted in milliseconds: this module imports nothing, a command's module is imported when it is called, and
gRPC, rich and YAML when they are needed. What the server adds (serve, join, …) does not even load the parser.
"""

from __future__ import annotations

import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code; the process's own line, without ``argv``, ends the process."""
    from runner_client.cli.extensions import EXTENSIONS, run_extension

    _open_standard_streams()
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in EXTENSIONS:
        return run_extension(arguments[0], arguments[1:])
    from runner_client.cli.app import run

    code = run(arguments)
    if argv is None:
        _leave(code)
    return code


def _leave(code: int) -> None:
    """Ends the process. Everything is closed and written by now; taking gRPC's modules apart would cost 50 ms more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # as it is when the caller closed it
                stream.flush()
        except OSError:
            pass  # nobody reads any more
    os._exit(code)


def _open_standard_streams() -> None:
    """Gives 0, 1 and 2 to /dev/null where the caller closed them: else a socket gets the number, and our output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
