"""Signed tokens: JWT with HS256 and nothing else, a key for each purpose, so that none stands for another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner_service.domain.errors import (
    TokenClaimMissing,
    TokenExpired,
    TokenInvalid,
    TokenNotYetValid,
    TokenSignature,
    TokenUndecodable,
)
from runner_service.ports.clock import Clock

ALGORITHM: Literal["HS256"] = "HS256"
MICROS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a kind of token is for, and what it must say."""

    life_seconds: int
    issuer: str | None = None
    """``iss``, where the API has one."""
    audience: str | None = None
    """``aud``, where the API has one."""
    subject: str | None = None
    """``sub``, where the API fixes it."""
    required: tuple[str, ...] = ("exp", "iat")
    """Claims without which no token is good."""
    leeway_seconds: int = 5
    """How far the clocks of the machines that make and read tokens may be apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token with its end."""

    token: str
    expires_at: int
    """Unix seconds: the claim ``exp``."""


class Tokens:
    """Issues and reads the tokens of one purpose."""

    def __init__(self, purpose: Purpose, *, key: str, clock: Clock) -> None:
        self._purpose = purpose
        self._key = key.encode()
        self._clock = clock

    @property
    def life_seconds(self) -> int:
        return self._purpose.life_seconds

    def issue(self, claims: Mapping[str, Any]) -> IssuedToken:
        """Signs the claims, with the times and names of the purpose added."""
        purpose, now = self._purpose, self._clock.now() // MICROS
        fixed = {"iss": purpose.issuer, "aud": purpose.audience, "sub": purpose.subject}
        payload = {
            **claims,
            **{name: value for name, value in fixed.items() if value is not None},
            "iat": now,
            "exp": now + purpose.life_seconds,
        }
        import jwt  # see `read`

        token = jwt.encode(payload, self._key, algorithm=ALGORITHM)
        return IssuedToken(token=token, expires_at=now + purpose.life_seconds)

    def read(self, token: str) -> Mapping[str, Any]:
        """Returns the claims of a good token.

        Raises:
            TokenRefused: One of its children says what is wrong.
        """
        # Here, because it loads a library of ciphers: 13 MB and a tenth of a second that many a server never needs.
        import jwt

        purpose = self._purpose
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=purpose.issuer,
                audience=purpose.audience,
                subject=purpose.subject,
                options={
                    "require": list(purpose.required),
                    # Times are compared below, with our own clock.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": purpose.subject is not None,
                    "verify_aud": purpose.audience is not None,
                    "verify_iss": purpose.issuer is not None,
                },
            )
        except jwt.MissingRequiredClaimError as error:
            raise TokenClaimMissing(claim=error.claim) from None
        except jwt.InvalidSignatureError:
            raise TokenSignature() from None
        except jwt.InvalidAlgorithmError:
            raise TokenInvalid(problem=f"only {ALGORITHM} is taken") from None
        except (jwt.DecodeError, ValueError):  # ValueError: half a surrogate pair
            raise TokenUndecodable() from None
        except jwt.InvalidTokenError:
            raise TokenInvalid(problem="it is for something else") from None
        self._check_times(claims)
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now, leeway = self._clock.now() / MICROS, self._purpose.leeway_seconds
        times: dict[str, float] = {}
        for name in ("exp", "nbf", "iat"):
            value = claims.get(name)
            if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
                raise TokenInvalid(problem=f"its {name} is no time")
            if value is not None:
                times[name] = value
        if max(times.get("nbf", 0), times.get("iat", 0)) > now + leeway:
            raise TokenNotYetValid()
        if times.get("exp", now) <= now - leeway:
            raise TokenExpired()
