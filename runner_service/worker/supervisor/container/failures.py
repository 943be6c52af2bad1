"""What an engine's errors mean for an attempt: a request that cannot be met, or a fault of the runner."""

from __future__ import annotations

from runner_service.worker.supervisor.container.engine import EngineAway, EngineRefused

_EXEC = (
    ("executable file not found", "COMMAND_NOT_FOUND"),
    ("no such file or directory", "COMMAND_NOT_FOUND"),
    ("permission denied", "COMMAND_NOT_EXECUTABLE"),
    ("exec format error", "COMMAND_NOT_EXECUTABLE"),
    ("argument list too long", "TOO_LARGE"),
)
"""What the runtime says when it cannot execute a command, whose words are Go's."""


_ASKED = ("network", "mount", "unable to find user", "storage-opt", "device")
"""What was asked for and cannot be is told as a fault of the server, too; but it names these."""


class Failed(Exception):
    """An outcome: kind, detail, and a sentence."""

    def __init__(self, kind: str, detail: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.detail = detail
        self.message = message


def refusal_of(error: EngineRefused) -> Failed:
    """Of an error about a container or an execution."""
    said = error.message.removesuffix(": unknown")
    if "chdir to cwd" in said:
        path = said.partition('("')[2].partition('")')[0]
        return Failed("REFUSED", "WORKING_DIRECTORY", f"chdir {path}: no such directory in the image")
    at = said.find('exec: "')
    if at >= 0 and "/.runner-holder" not in said[at:]:
        for words, reason in _EXEC:
            if words in said:
                return Failed("REFUSED", reason, said[at:])
    if error.status == 404 and "No such image" in said:
        return Failed("REFUSED", "IMAGE", said)
    if error.status >= 500 and not any(words in said for words in _ASKED):
        return Failed("INFRASTRUCTURE", "prepare", f"the docker daemon cannot do it: {said}")
    return Failed("REFUSED", "CONTAINER", said)


def failure_of(error: EngineAway | EngineRefused, phase: str) -> Failed:
    """Of an engine that is away, or whose answer nobody expected."""
    if isinstance(error, EngineRefused):
        return Failed("INFRASTRUCTURE", phase, f"the docker daemon answers with status {error.status}: {error.message}")
    if phase == "prepare":
        return Failed("INFRASTRUCTURE", phase, f"the docker daemon does not answer ({error}): start it on the runner")
    return Failed("INFRASTRUCTURE", phase, f"the docker daemon went away while the container ran ({error})")
