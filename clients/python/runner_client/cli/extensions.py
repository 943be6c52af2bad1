"""Commands that the server extra adds, loaded by name from the entry-point group ``runner.commands``.

An entry point is a callable ``main(argv) -> int`` that takes the arguments behind its name.
"""

from __future__ import annotations

from runner_client.cli.report import USAGE, complain

GROUP = "runner.commands"

EXTENSIONS = {
    "serve": "Start a server, with a local runner.",
    "join": "Make this machine a runner of a server.",
    "gateway": "Serve the REST side of a server that runs elsewhere.",
    "api": "Start a server with the flags of SentinelStacks' `sentinel api`.",
}
"""Name and help of each that may be installed."""
OURS = ("runner", "runner_client", "runner_service", "gateway")
EXTRAS = {"psycopg": "postgres", "obstore": "s3"}
"""Which extra brings a module that was not found; any other comes with `server`."""


def installed() -> list[str]:
    """Returns the names that this installation has."""
    from importlib.metadata import entry_points

    names = {point.name for point in entry_points(group=GROUP)}
    return [name for name in EXTENSIONS if name in names]


def run_extension(name: str, argv: list[str]) -> int:
    """Runs the command and returns its exit code; 2 and a sentence when the installation lacks it."""
    from importlib.metadata import entry_points

    why, extra = "not part of this installation", "server"
    for point in entry_points(group=GROUP, name=name):
        try:
            return int(point.load()(argv) or 0)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in OURS:
                raise
            why, extra = str(error), EXTRAS.get(missing, extra)
    complain(f"`runner {name}` is not installed ({why})", f"pip install 'runner-service[{extra}]'")
    return USAGE
