"""Masking secrets in output: every form, wherever it is cut; and through a real supervisor."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor_rig import PATIENCE, Hold

from runner_service.domain import inputs
from runner_service.domain.logs import LogStream
from runner_service.worker.supervisor.redaction import MASK, MAX_SHOWN_BYTES, Forms, Redactor

SECRET = b'p+ss/w\xc3\xb6rd "1"'
PEM = b"-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"


def redact(secrets: list[bytes], *pieces: bytes) -> bytes:
    redactor = Redactor(Forms(secrets))
    return b"".join(redactor.feed(piece) for piece in pieces) + redactor.flush()


def encodings(secret: bytes) -> list[bytes]:
    text = secret.decode()
    found = [
        secret,
        base64.b64encode(secret),
        base64.urlsafe_b64encode(secret),
        urllib.parse.quote(secret, safe="").encode(),
        urllib.parse.quote(secret).encode(),
        urllib.parse.quote_plus(secret).encode(),
        json.dumps(text).encode(),
        json.dumps(text, ensure_ascii=False).encode(),
        secret.hex().encode(),
        secret.hex().upper().encode(),
    ]
    for before in (b"u:", b"us:", b"usr:", b"user:"):
        found += [base64.b64encode(before + secret + after) for after in (b"", b"x", b"xy", b"\n")]
    return found


@pytest.mark.parametrize("encoded", encodings(SECRET))
def test_every_usual_form_is_masked_wherever_it_is_cut(encoded: bytes) -> None:
    text = b"before " + encoded + b" after"
    whole = redact([SECRET], text)
    assert MASK in whole
    assert whole.startswith(b"before ")
    assert whole.endswith(b" after")
    # Of base64 a letter at either end may stay, which also depends on what stands beside the secret.
    assert len(whole) < len(text) - len(SECRET) * 3 // 4
    for at in range(len(text)):
        assert redact([SECRET], text[:at], text[at:]) == whole
    assert redact([SECRET], *(text[at : at + 1] for at in range(len(text)))) == whole


def test_a_secret_of_many_lines_is_masked_as_a_terminal_shows_it_and_line_by_line() -> None:
    shown = PEM.replace(b"\n", b"\r\n")
    assert b"MIIE" not in redact([PEM], b"x" + shown + b"y")
    for line in PEM.splitlines():
        assert redact([PEM], b"a " + line + b" b") == b"a *** b"


LONG = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZXBsb3kifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
WRAPPED = {
    "base64": base64.encodebytes(b"user:" + LONG + b"\n"),
    "in a terminal": base64.encodebytes(b"user:" + LONG + b"\n").replace(b"\n", b"\r\n"),
    "begins at the end of a line": base64.encodebytes(b"x" * 50 + LONG),
    "openssl": re.sub(rb"(.{64})", rb"\1\n", base64.b64encode(LONG)) + b"\n",
    "xxd": re.sub(rb"(.{60})", rb"\1\n", LONG.hex().encode()) + b"\n",
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_what_an_encoder_broke_into_lines_is_masked_wherever_it_is_cut(wrapped: bytes) -> None:
    text = b"before\n" + wrapped + b"after\n"
    whole = redact([LONG], text)
    assert whole.startswith(b"before\n")
    assert whole.endswith(b"after\n")
    assert whole.count(MASK) == 1
    # At either end stands what is beside the secret, and the letter of base64 that depends on it.
    assert len(whole) < len(b"before\n***\nafter\n") + len(wrapped) - len(LONG) * 4 // 3
    for at in range(len(text)):
        assert redact([LONG], text[:at], text[at:]) == whole
    assert redact([LONG], *(text[at : at + 1] for at in range(len(text)))) == whole


def test_a_line_that_ends_as_a_form_begins_is_not_late_and_the_next_is_masked_even_so() -> None:
    form = base64.b64encode(LONG)
    redactor = Redactor(Forms([LONG]))
    assert redactor.feed(b"see " + form[:3] + b"\n") == b"see " + form[:3] + b"\n"
    assert redactor.feed(form[3:] + b"\n") == b"***" + form[-2:] + b"\n"
    assert redactor.feed(form[:4] + b"\n") == b""  # Four letters tell too much, also to who waits.
    assert redactor.show() == b""
    assert redactor.feed(b"other\n") == form[:4] + b"\nother\n"


def test_secrets_that_overlap_leave_nothing_of_either() -> None:
    assert redact([b"abcdefgh", b"efghijkl"], b"[abcdefghijkl]") == b"[***]"
    assert redact([b"abcdefgh", b"efghijkl"], b"[abcde", b"fghij", b"kl]") == b"[***]"
    assert redact([b"secret", b"secret-long"], b"secret-lon secret-long") == b"***-lon ***"


def test_what_is_no_secret_comes_through_untouched_and_a_beginning_is_only_late() -> None:
    redactor = Redactor(Forms([b"hunter2-hunter2"]))
    assert redactor.feed(b"login: hunter2-") == b"login: "
    assert redactor.feed(b"x") == b"hunter2-x"
    assert redactor.feed(b"hunt") == b""
    assert redactor.flush() == b"hunt"


def test_a_short_beginning_is_shown_to_who_waits_and_the_rest_is_masked() -> None:
    redactor = Redactor(Forms([b"password-of-mine!!"]))  # 18 bytes: three may be shown.
    assert (redactor.feed(b"give it: p"), redactor.holds) == (b"give it: ", True)
    assert (redactor.show(), redactor.holds) == (b"p", False)
    assert redactor.show() == b""
    assert redactor.feed(b"as") == b""
    assert redactor.show() == b"as"
    assert redactor.feed(b"s") == b""
    assert redactor.show() == b""  # Four are too many.
    assert redactor.feed(b"word-of-mine!!x") == b"***x"
    assert redactor.feed(b"p") + redactor.show() + redactor.feed(b"lain") == b"plain"
    assert redactor.feed(b"pa") + redactor.flush() == b"pa"


def test_of_a_short_secret_one_letter_is_shown() -> None:
    redactor = Redactor(Forms([b"secret"]))
    assert redactor.feed(b"s") + redactor.show() == b"s"
    assert redactor.feed(b"e") + redactor.show() == b""
    assert redactor.feed(b"cret") == b"***"


@given(
    secrets=st.lists(st.binary(min_size=6, max_size=12), min_size=1, max_size=3),
    parts=st.lists(st.one_of(st.integers(0, 2), st.binary(max_size=4)), max_size=12),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
def test_cuts_change_nothing_and_no_secret_is_left(
    secrets: list[bytes], parts: list[int | bytes], cuts: list[int]
) -> None:
    text = b"".join(part if isinstance(part, bytes) else secrets[part % len(secrets)] for part in parts)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    whole = redact(secrets, text)
    assert redact(secrets, *pieces) == whole
    if all(b"*" not in secret for secret in secrets):
        assert not any(secret in whole for secret in secrets)


@given(secrets=st.lists(st.sampled_from([b"aaaaaa", b"abaaba", b"aabaab", b"aaaaaaaa"]), min_size=1),
       text=st.text(alphabet="ab", max_size=60), cut=st.integers(0, 60))  # fmt: skip
def test_secrets_that_repeat_themselves(secrets: list[bytes], text: str, cut: int) -> None:
    data = text.encode()
    whole = redact(secrets, data)
    assert redact(secrets, data[:cut], data[cut:]) == whole
    assert not any(secret in whole for secret in secrets)


@given(
    secrets=st.lists(st.text(alphabet="ab", min_size=6, max_size=20).map(str.encode), min_size=1, max_size=2),
    pieces=st.lists(st.text(alphabet="ab", max_size=9).map(str.encode), max_size=12),
)
def test_what_is_shown_in_silence_is_a_sixth_of_a_secret_at_most(secrets: list[bytes], pieces: list[bytes]) -> None:
    redactor, out = Redactor(Forms(secrets)), b""
    for piece in pieces:
        out += redactor.feed(piece)
        shown = redactor.show()
        assert len(shown) <= MAX_SHOWN_BYTES
        out += shown
    out += redactor.flush()
    assert not any(secret in out for secret in secrets)
    whole = redact(secrets, *pieces)
    if MASK not in whole:
        assert out == whole


async def test_a_prompt_that_ends_like_a_secret_begins_is_seen(hold: Hold) -> None:
    value = "hunter2-correct-horse"
    script = 'printf "name [h"; read name; printf "hun"; read rest; printf "$TOKEN"'
    await hold.start("a", script, environment={"TOKEN": value}, secrets=[value], stdin="PIPE")
    for offset, answer, prompt in ((0, b"x\n", b"name [h"), (2, b"y\n", b"name [hhun")):
        async with asyncio.timeout(PATIENCE):
            while hold.text("a") != prompt:
                await hold.news()
        await hold.client.input("a", offset, inputs.data(answer))
    assert (await hold.end("a")).outcome.exit_code == 0
    assert hold.text("a", LogStream.STDOUT) == b"name [hhun***"


@pytest.mark.parametrize("stdin", ["NULL", "PTY"])
async def test_nothing_of_it_reaches_the_spool(hold: Hold, stdin: str) -> None:
    value = "hunter2-correct-horse"
    script = (
        'echo "one $TOKEN"; printf %s "$TOKEN" | base64; printf "%s" "${TOKEN%-horse}"; sleep 0.05; echo "-horse end";'
        'seq 30000 | while read n; do :; done; echo "$TOKEN" >&2; printf hunter2'
    )
    await hold.start("a", script, environment={"TOKEN": value}, secrets=[value], stdin=stdin)
    end = await hold.end("a")
    journal = hold.journal("a")
    assert value.encode() not in journal
    assert b"aHVudGVyMi1jb3JyZWN0" not in journal
    streams = (LogStream.STDOUT, LogStream.PTY)
    text = b"".join(hold.text("a", stream) for stream in streams).replace(b"\r\n", b"\n")
    assert text.startswith(b"one ***\n***")
    assert b"*** end\n" in text
    assert text.endswith(b"hunter2")
    assert end.outcome.exit_code == 0
    # Nor any other file of the supervisor.
    for path in hold.directory.rglob("*"):
        if path.is_file():
            assert value.encode() not in path.read_bytes(), path
