"""Who may call."""

from __future__ import annotations

import ssl
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from runner_service.config.base import Section


class Key(Section):
    """An API key with a name for the audit and a role."""

    key: str = Field(min_length=1)
    name: str = ""
    role: Literal["viewer", "operator", "admin", "worker"] = "operator"


def plain_keys(value: Any) -> Any:
    """Plain strings in a list of keys are keys with the default role."""
    if isinstance(value, str):
        # Each of its characters would be a key.
        raise ValueError("give a list of keys")
    return [{"key": key} if isinstance(key, str) else key for key in value or ()]


class Tls(Section):
    """TLS on the HTTP and gRPC ports."""

    enabled: bool = False
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    """Mutual TLS: only who shows a certificate signed by one of these gets as far as a request."""

    @model_validator(mode="after")
    def _can_be_served(self) -> Self:
        if self.enabled:
            try:
                # The empty password: one that is asked for would be asked of a terminal.
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                    self.cert_file, self.key_file, password=""
                )
            except OSError as error:
                files = f"cert_file {self.cert_file!r} and key_file {self.key_file!r}"
                raise ValueError(f"cannot use {files}: {error.strerror or error}") from None
        if self.client_ca_file:
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_verify_locations(self.client_ca_file)
            except OSError as error:
                raise ValueError(f"cannot use client_ca_file: {error.strerror or error}") from None
            if not self.enabled:
                raise ValueError("client_ca_file needs TLS: set enabled, cert_file and key_file too")
        return self


class Security(Section):
    """Who may call."""

    api_keys: tuple[Key, ...] = ()
    """Plain strings are keys of the role operator."""
    require_auth: bool = False
    """Demand a credential on loopback too."""
    insecure: bool = False
    """Demand none off loopback either, where the API does not ask for one by itself. Said aloud at start."""
    secrets_key_file: str = ""
    """With what secrets are sealed, 32 bytes; empty: ``secrets/key`` in the data directory. The same for all servers of
    one store."""
    worker_credential_hours: float = Field(default=24.0, ge=1)
    """Life of a worker's credential; one in contact is given the next after half of it."""
    tls: Tls = Tls()

    _plain_keys = field_validator("api_keys", mode="before")(plain_keys)
