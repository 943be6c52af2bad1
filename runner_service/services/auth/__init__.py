"""Who calls: keys, tokens, users and clients.

========================  ==================================================  ==========================
credential                made by                                             kept as
========================  ==================================================  ==========================
API key                   the settings, or `ApiKeys.create` (``rk_…``)        SHA-256
worker credential         `services.runners` (``rw_…``)                       SHA-256
user and password         the settings (`Logins`)                             argon2
client id and secret      the settings or a call (`Clients`)                  argon2
login and access tokens   `Tokens` (JWT, HS256, a key for each purpose)       not at all: signed
refresh token             `RefreshTokens` (opaque)                            SHA-256
========================  ==================================================  ==========================

Which of them an API takes, and in which form, is the matter of ``rpc.forms``.
"""

from __future__ import annotations

from runner_service.domain.principals import Principal, Role, demand
from runner_service.services.auth.authenticator import ApiKey, Auth
from runner_service.services.auth.clients import AccessToken, Clients
from runner_service.services.auth.credentials import Credential, CredentialKind, parse_authorization
from runner_service.services.auth.keys import ApiKeys
from runner_service.services.auth.passwords import Passwords
from runner_service.services.auth.refresh import RefreshTokens
from runner_service.services.auth.tokens import IssuedToken, Purpose, Tokens
from runner_service.services.auth.users import Login, Logins, User

__all__ = [
    "AccessToken",
    "ApiKey",
    "ApiKeys",
    "Auth",
    "Clients",
    "Credential",
    "CredentialKind",
    "IssuedToken",
    "Login",
    "Logins",
    "Passwords",
    "Principal",
    "Purpose",
    "RefreshTokens",
    "Role",
    "Tokens",
    "User",
    "demand",
    "parse_authorization",
]
