"""What the pilot is told to run, made into what the engine is asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

HOLDER = "/.runner-holder"
"""Where the holder stands in a container."""
WORKSPACE = "/workspace"
"""Where the attempt's own directory stands, in which steps start unless the job names another."""
LABEL_OWNER = "runner-service.owner"
"""Of every container: the word of the supervisor that made it, by which leftovers are known."""
LABEL_DIRECTORY = "runner-service.directory"
"""Its directory, for people."""
LABEL_ATTEMPT = "runner-service.attempt"
LABEL_FENCE = "runner-service.fence"

IF_MISSING, ALWAYS, NEVER = "IF_MISSING", "ALWAYS", "NEVER"
"""When an image is pulled."""


class Order(NamedTuple):
    """A container, with nothing left to resolve."""

    image: str
    engine: str = ""
    """Path of the engine's socket. Empty: this runner runs no containers."""
    pull: str = IF_MISSING
    user: str = ""
    """Empty: the image's."""
    network: str = ""
    """Empty: the engine's default."""
    privileged: bool = False
    volumes: list[str] = []  # noqa: RUF012  Of a NamedTuple, and never changed.
    """As ``docker run --volume`` takes them."""
    working_directory: str = ""
    """In the container; empty: `WORKSPACE`."""
    auth: str = ""
    """Path of the file with the credentials of registries, in docker's own form."""
    cpus: float = 0.0
    memory_bytes: int = 0
    processes: int = 0


def container_name(attempt_id: str) -> str:
    """One attempt, one container: the engine itself refuses a second of the name."""
    return f"runner-{attempt_id}"


def creation(
    order: Order, *, attempt_id: str, fence: int, owner: str, directory: str, workspace: str, holder: str
) -> Any:
    """The body that creates the container. The environment of the job is not in it: the engine would write it, and
    the secrets in it, to its disk."""
    host: dict[str, Any] = {
        "Binds": [f"{holder}:{HOLDER}:ro", *order.volumes],
        "LogConfig": {"Type": "none", "Config": {}},  # The journal is the log; the engine's would not be byte-exact.
        "Privileged": order.privileged,
        "RestartPolicy": {"Name": "no"},
    }
    if not order.working_directory:
        host["Binds"].append(f"{workspace}:{WORKSPACE}")
    if order.network:
        host["NetworkMode"] = order.network
    if order.cpus:
        host["NanoCpus"] = round(order.cpus * 1e9)
    if order.memory_bytes:
        host["Memory"] = host["MemorySwap"] = order.memory_bytes
    if order.processes:
        host["PidsLimit"] = order.processes + 1  # The holder counts too.
    return {
        "Image": order.image,
        "Entrypoint": [HOLDER],
        "Cmd": [],
        "User": order.user,
        "WorkingDir": "/",  # Of the holder; the engine would make a directory that is not there.
        "Env": [f"RUNNER_ATTEMPT_ID={attempt_id}"],
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",
        "Labels": {
            LABEL_OWNER: owner,
            LABEL_DIRECTORY: directory,
            LABEL_ATTEMPT: attempt_id,
            LABEL_FENCE: str(fence),
        },
        "HostConfig": host,
    }


def execution(
    order: Order, argv: list[str], environment: dict[str, str], *, stdin: str, terminal: tuple[int, int]
) -> Any:
    """The body that makes one step of it. ``terminal``: rows and columns of a PTY; engines before 23 pass over them,
    and are told once the process exists."""
    size = {"ConsoleSize": list(terminal)} if stdin == "PTY" else {}
    return {
        **size,
        "AttachStdin": stdin != "NULL",
        "AttachStdout": True,
        "AttachStderr": stdin != "PTY",
        "Tty": stdin == "PTY",
        "Cmd": argv,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "WorkingDir": order.working_directory or WORKSPACE,
        "Privileged": order.privileged,
        "User": order.user,
    }


def split_image(image: str) -> tuple[str, str]:
    """An image's repository and its tag or digest, ``latest`` where none is said."""
    if "@" in image:
        repository, _, digest = image.partition("@")
        return split_image(repository)[0], digest
    repository, colon, tag = image.rpartition(":")
    return (image, "latest") if not colon or "/" in tag else (repository, tag)


def registry_of(image: str) -> str:
    """Whose credentials a pull needs, as docker's file names it."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return "https://index.docker.io/v1/"
