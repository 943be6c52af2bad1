"""The key that secrets are sealed with: a file that only this user can read, made at the first start."""

from __future__ import annotations

import os
from pathlib import Path

from runner_service.services.sealing import KEY_BYTES


class SecretsKeyUnusable(Exception):
    """The file does not hold the key."""


def load_key(path: Path, *, make: bool = True) -> bytes:
    """Reads the key. With ``make``, one is made when there is no file; a file that somebody named must be there, else
    a mistyped name would make a second key, and the secrets under the first one would be lost.

    Raises:
        SecretsKeyUnusable: The file cannot be read, holds no key, or others may read it.
    """
    try:
        if make:
            _make(path)
        if path.stat().st_mode & 0o077:
            raise SecretsKeyUnusable(f"others may read the key of the secrets in {path}: chmod 600 it")
        key = path.read_bytes()
    except FileNotFoundError:
        raise SecretsKeyUnusable(
            f"there is no key of the secrets in {path}: copy it from the other server, or make one, of {KEY_BYTES} "
            f"random bytes, with mode 600"
        ) from None
    except OSError as error:
        raise SecretsKeyUnusable(f"cannot read the key of the secrets in {path}: {error.strerror}") from None
    if len(key) != KEY_BYTES:
        raise SecretsKeyUnusable(f"{path} holds no key of {KEY_BYTES} bytes: restore it, or remove it with all secrets")
    return key


def _make(path: Path) -> None:
    if path.exists():
        return
    # Whole or not at all: a torn key would lose every secret.
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, os.urandom(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(new, path)  # Another server may have been first: then its key holds.
    except FileExistsError:
        pass
    finally:
        new.unlink()
