"""What the store keeps and must not be able to read: sealed by AES-256-GCM under the service's key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class Unsealable(Exception):
    """It was sealed with another key, or for another name."""


class Sealer:
    """Seals and opens under one key. Whoever has it and the database has what was sealed."""

    def __init__(self, key: bytes) -> None:
        """``key``: of `KEY_BYTES`."""
        self._key = key

    @cached_property
    def _cipher(self) -> AESGCM:
        # Here, because it costs 9 MB and a tenth of a second, and many a server seals nothing.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key)

    def seal(self, name: str, value: bytes) -> bytes:
        """Seals a value for a name: moved to another name it cannot be opened."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Raises `Unsealable`."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except InvalidTag:
            raise Unsealable from None

    def derive(self, name: str, nonce: str) -> str:
        """A credential for a name: the same for the same nonce, and nobody's guess without the key."""
        digest = hmac.new(self._key, "\0".join(("credential", name, nonce)).encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def fingerprint(self, value: bytes) -> str:
        """Tells values apart, and tells who has not the key nothing about them."""
        return hmac.new(self._key, value, hashlib.sha256).hexdigest()
