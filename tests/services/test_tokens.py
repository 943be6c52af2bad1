"""Signed tokens: what is good, and what each bad one is called."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from store_house import SECOND, START, MovingClock

from runner_service.domain.errors import (
    TokenClaimMissing,
    TokenExpired,
    TokenInvalid,
    TokenNotYetValid,
    TokenRefused,
    TokenSignature,
    TokenUndecodable,
)
from runner_service.services.auth import Purpose, Tokens

KEY, OTHER = "k" * 32, "o" * 32
NOW = START // SECOND
GOOD = {"iat": NOW, "exp": NOW + 60, "iss": "me", "aud": "you", "sub": "it"}
PURPOSE = Purpose(life_seconds=60, issuer="me", audience="you", subject="it", required=("exp", "iat", "sub"))


@pytest.fixture
def tokens(clock: MovingClock) -> Tokens:
    return Tokens(PURPOSE, key=KEY, clock=clock)


def _signed(key: str = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    payload = {name: value for name, value in {**GOOD, **claims}.items() if value is not None}
    return jwt.encode(payload, key, algorithm=algorithm)


def _unsigned() -> str:
    parts = [{"alg": "none", "typ": "JWT"}, GOOD]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def test_a_token_says_what_was_signed_and_the_purpose_adds_its_names(tokens: Tokens, clock: MovingClock) -> None:
    issued = tokens.issue({"permissions": {"role": "agent"}, "exp": 1})
    assert issued.expires_at == NOW + 60
    assert tokens.read(issued.token) == {**GOOD, "permissions": {"role": "agent"}}
    assert jwt.get_unverified_header(issued.token)["alg"] == "HS256"
    clock.advance(64)
    tokens.read(issued.token)  # the leeway
    clock.advance(1)
    with pytest.raises(TokenExpired):
        tokens.read(issued.token)


@pytest.mark.parametrize(
    ("token", "error"),
    [
        pytest.param("", TokenUndecodable, id="nothing"),
        pytest.param("a.b.c", TokenUndecodable, id="no JSON"),
        pytest.param("no token", TokenUndecodable, id="one word"),
        pytest.param("\ud800.x.y", TokenUndecodable, id="no Unicode"),
        pytest.param(_signed(OTHER), TokenSignature, id="another key"),
        pytest.param(_signed(OTHER, exp=1), TokenSignature, id="another key, and expired: the signature comes first"),
        pytest.param(_signed("k" * 64, "HS512"), TokenInvalid, id="another algorithm"),
        pytest.param(_unsigned(), TokenInvalid, id="no algorithm at all"),
        pytest.param(_signed(exp=None), TokenClaimMissing, id="no end"),
        pytest.param(_signed(sub=None), TokenClaimMissing, id="no subject"),
        pytest.param(_signed(exp=NOW - 5), TokenExpired, id="expired, the leeway counted"),
        pytest.param(_signed(nbf=NOW + 6), TokenNotYetValid, id="not yet valid"),
        pytest.param(_signed(iat=NOW + 6), TokenNotYetValid, id="made in the future"),
        pytest.param(_signed(exp="soon"), TokenInvalid, id="an end that is no time"),
        pytest.param(_signed(nbf=True), TokenInvalid, id="a start that is no time"),
        pytest.param(_signed(iss="him"), TokenInvalid, id="another issuer"),
        pytest.param(_signed(aud="him"), TokenInvalid, id="for somebody else"),
        pytest.param(_signed(aud=None), TokenClaimMissing, id="for nobody"),
        pytest.param(_signed(sub="that"), TokenInvalid, id="about something else"),
    ],
)
def test_each_bad_token_is_told_apart(tokens: Tokens, token: str, error: type[TokenRefused]) -> None:
    with pytest.raises(TokenRefused) as refused:
        tokens.read(token)
    assert type(refused.value) is error
    assert KEY not in str(refused.value)


def test_a_token_of_one_purpose_is_none_of_another_even_with_one_key(clock: MovingClock) -> None:
    other = Tokens(Purpose(life_seconds=60, issuer="him"), key=KEY, clock=clock)
    with pytest.raises(TokenInvalid):
        Tokens(PURPOSE, key=KEY, clock=clock).read(other.issue({"sub": "it", "aud": "you"}).token)
