"""People who log in with a name and a password."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner_service.domain.errors import LoginInvalid
from runner_service.domain.principals import Principal, Role
from runner_service.services.auth.passwords import Passwords, is_hash
from runner_service.services.auth.tokens import Tokens

ADMIN = "admin"
"""The name whose owner is an administrator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of the settings."""

    username: str
    password: str
    """In plain, or an argon2 hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What a user gets for name and password."""

    token: str
    username: str
    expires_at: int
    """Unix seconds."""


class Logins:
    """Logs users in, and knows them again by their tokens."""

    def __init__(self, *, hashes: dict[str, str], passwords: Passwords, tokens: Tokens) -> None:
        self._hashes = hashes
        self._passwords = passwords
        self._tokens = tokens

    @classmethod
    async def open(cls, users: Iterable[User], *, passwords: Passwords, tokens: Tokens) -> Logins:
        """Hashes what stands in the settings in plain; nothing of it is kept."""
        hashes = {
            user.username: user.password if is_hash(user.password) else await passwords.hash(user.password)
            for user in users
        }
        return cls(hashes=hashes, passwords=passwords, tokens=tokens)

    @property
    def has_users(self) -> bool:
        """Users are set. Without any, whoever is trusted may log in under any name."""
        return bool(self._hashes)

    async def login(self, username: str, password: str, *, trusted: bool) -> Login:
        """Returns a token. ``trusted``: the caller could do everything without one, see `LoginInvalid`.

        Raises:
            LoginInvalid: Unknown name or wrong password; or no users are set and the caller is not trusted.
        """
        if self.has_users:
            known = await self._passwords.verify(password, self._hashes.get(username))
        else:
            known = trusted and bool(username) and bool(password)
        if not known:
            raise LoginInvalid()
        issued = self._tokens.issue({"username": username, "admin": username == ADMIN})
        return Login(token=issued.token, username=username, expires_at=issued.expires_at)

    def principal(self, token: str) -> Principal:
        """Returns whose token it is. Raises a `TokenRefused`."""
        claims = self._tokens.read(token)
        role = Role.ADMIN if claims.get("admin") is True else Role.OPERATOR
        return Principal(name=str(claims["username"]), role=role)
