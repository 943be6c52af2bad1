"""Where everything lies on the worker's disk.

::

    DIR/supervisor.sock          the socket (see `socket_path`)
    DIR/supervisor.lock          held by the one supervisor of DIR, and by its guard until it has cleaned up
    DIR/supervisor.json          boot id and cgroup of the newest supervisor
    DIR/engine                   the socket of the engine that ran containers of this directory last
    DIR/holder                   the first process of containers, see `container.holder`
    DIR/supervisor.log           its stderr, when a worker started it
    DIR/index                    what it knows of its attempts, see `index`
    DIR/spool/ATTEMPT.journal    the log of one: frames of `domain.logs`; there from the first output on
    DIR/work/ATTEMPT/            working directory of an attempt that names none
    DIR/inputs/ATTEMPT/          what its working directory begins with, from its worker, before it starts
    DIR/trash/                   what is being deleted
    DIR/kept/ATTEMPT/            working directories that were to be kept
"""

from __future__ import annotations

import errno
import os

MAX_SOCKET_PATH = 107
"""Bytes of a socket's path that the kernel takes."""
_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def short_socket_path(path: str) -> str:
    """The path itself, or when it is too long for a socket, one in a private directory that depends on it only.

    Raises:
        PermissionError: The private directory exists and belongs to somebody else.
    """
    path = os.path.abspath(path)  # noqa: PTH100  pathlib costs the supervisor 1 MB.
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    from hashlib import sha256  # Loads OpenSSL: only when needed.

    private = f"/tmp/runner-{os.geteuid()}"
    private_directory(private)
    return f"{private}/{sha256(os.fsencode(path)).hexdigest()[:32]}.sock"


def socket_path(directory: str) -> str:
    """The socket of the supervisor of ``directory``, for both sides."""
    return short_socket_path(f"{directory}/supervisor.sock")


def private_directory(path: str) -> None:
    """Makes a directory that only this user can enter.

    Raises:
        NotADirectoryError: It is something else, which is left as it is.
        PermissionError: It exists and belongs to somebody else, or others may enter it and that cannot be changed.
    """
    try:
        os.makedirs(path, 0o700)  # noqa: PTH103
    except FileExistsError:
        status = os.lstat(path)
        if not os.path.isdir(path):  # noqa: PTH112
            raise NotADirectoryError(errno.ENOTDIR, "it is not a directory", path) from None
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to user {status.st_uid}") from None
        if status.st_mode & 0o777 != 0o700:
            os.chmod(path, 0o700)  # noqa: PTH101


def valid_attempt_id(attempt_id: str) -> bool:
    """Tells whether an id can be the name of a directory and nothing else."""
    return 0 < len(attempt_id) <= 128 and _ID_LETTERS.issuperset(attempt_id)


class Layout:
    """The paths under one directory."""

    __slots__ = (
        "cgroup_note",
        "directory",
        "engine_note",
        "index",
        "inputs",
        "kept",
        "lock",
        "log",
        "spool",
        "trash",
        "work",
    )

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)  # noqa: PTH100
        self.lock = f"{self.directory}/supervisor.lock"
        self.cgroup_note = f"{self.directory}/supervisor.json"
        self.engine_note = f"{self.directory}/engine"
        self.index = f"{self.directory}/index"
        self.log = f"{self.directory}/supervisor.log"
        self.spool = f"{self.directory}/spool"
        self.work = f"{self.directory}/work"
        self.inputs = f"{self.directory}/inputs"
        self.trash = f"{self.directory}/trash"
        self.kept = f"{self.directory}/kept"

    def make(self) -> None:
        for path in (self.directory, self.spool, self.work, self.inputs, self.trash):
            private_directory(path)

    def staging(self, attempt_id: str) -> str:
        return f"{self.inputs}/{attempt_id}"

    def working_directory(self, attempt_id: str) -> str:
        return f"{self.work}/{attempt_id}"

    def journal(self, attempt_id: str) -> str:
        return f"{self.spool}/{attempt_id}.journal"
