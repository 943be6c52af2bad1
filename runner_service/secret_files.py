"""Secrets that no setting gives: made once, kept in the data directory for its owner alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

BYTES = 32


def secret(directory: Path, name: str) -> str:
    """Returns the secret of this name, made when it is not there: 64 hexadecimal digits in a file of mode 0600.

    Several servers on one PostgreSQL do not share a directory: give them the secret by a setting, else a token of one
    is none for the others.
    """
    path = directory / f"{name}.key"
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="ascii").strip()
    made = secrets.token_hex(BYTES)
    # Whole or not at all: a server that dies here leaves no half of a key.
    draft = directory / f"{name}.key.new"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(made + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return made
