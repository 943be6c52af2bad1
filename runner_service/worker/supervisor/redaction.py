"""Keeps secrets out of what is written down: every form in which one is found becomes ``***``, wherever reads cut it.

A secret is looked for as it is and as it comes out of the usual encoders: base64 (both alphabets, at each of the three
places it can begin), percent-encoding, JSON, hexadecimal; and with its lines ended as a terminal does, and by line.
Base64 and hexadecimal are found however an encoder breaks them into lines: `base64` does after 76 letters.
What was just read and may be the beginning of one is held back until more comes, or the end; where somebody waits for a
prompt, a beginning too short to tell anything is shown after a moment of silence.

Each form is searched for by `bytes.find`, which for forms of this length is far faster than one pattern for all.
"""

from __future__ import annotations

import json
from binascii import b2a_base64, hexlify
from collections.abc import Iterable

MASK = b"***"
MIN_FORM_BYTES = 6
"""Shorter ones, such as a line of a secret, would be found in ordinary words."""
MAX_SHOWN_BYTES = 3
"""So much of the beginning of a form may be shown, and no more than a sixth of it: one letter of the shortest."""
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_LINE_ENDS = b"\r\n"
_URL = bytes.maketrans(b"+/", b"-_")


def forms_of(secret: bytes) -> set[bytes]:
    """Every form in which a secret is looked for."""
    forms = encoded_forms_of(secret)
    for value in _lines(secret):
        forms.add(value)
        forms.update(_escapes(value))
    return {form for form in forms if len(form) >= MIN_FORM_BYTES}


def encoded_forms_of(secret: bytes) -> set[bytes]:
    """Those of them that encoders break into lines."""
    forms: set[bytes] = set()
    for value in _lines(secret):
        forms.update(_base64(value))
        forms.update((hexlify(value), hexlify(value).upper()))
    return {form for form in forms if len(form) >= MIN_FORM_BYTES}


def _lines(secret: bytes) -> set[bytes]:
    values = {secret, secret.strip()}
    if b"\n" in secret:
        values.add(secret.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        values.update(line.strip() for line in secret.splitlines())
    return {value for value in values if len(value) >= MIN_FORM_BYTES}


def _base64(value: bytes) -> set[bytes]:
    forms: set[bytes] = set()
    for before in range(3):
        encoded = b2a_base64(bytes(before) + value, newline=False).rstrip(b"=")
        # A letter at either end also depends on what stands beside the secret.
        first = (before * 8 + 5) // 6
        last = (before + len(value)) * 8 // 6
        inner = encoded[first:last]
        forms.update((inner, inner.translate(_URL)))
    return forms


def _escapes(value: bytes) -> set[bytes]:
    forms: set[bytes] = set()
    for digits in ("%{:02X}", "%{:02x}"):
        quoted = b"".join(bytes((byte,)) if byte in _UNRESERVED else digits.format(byte).encode() for byte in value)
        # Encoders differ in what they leave as it is.
        forms.update((quoted, quoted.replace(b"%20", b"+"), quoted.replace(b"%2F", b"/").replace(b"%2f", b"/")))
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return forms
    for plain in (False, True):
        quoted_text = json.dumps(text, ensure_ascii=not plain)[1:-1].encode()
        forms.update((quoted_text, quoted_text.replace(b"/", b"\\/")))
    return forms


class Forms:
    """The forms of all secrets of one attempt."""

    __slots__ = ("_encoded", "_encoded_heads", "_heads", "_longest_encoded", "forms", "longest")

    def __init__(self, secrets: Iterable[bytes]) -> None:
        secrets = list(secrets)
        found = {form for secret in secrets for form in forms_of(secret)}
        # A form that holds another is found by it, but only in part: both are looked for.
        self.forms = sorted(found, key=len, reverse=True)
        self.longest = len(self.forms[0]) if self.forms else 0
        self._heads = _by_head(self.forms)
        self._encoded = sorted({form for secret in secrets for form in encoded_forms_of(secret)}, key=len, reverse=True)
        self._longest_encoded = len(self._encoded[0]) if self._encoded else 0
        self._encoded_heads = _by_head(self._encoded)

    def __bool__(self) -> bool:
        return bool(self.forms)

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where forms are, overlapping ones joined, in order."""
        found = []
        for form in self.forms:
            at = data.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = data.find(form, at + 1)
        found += self._broken_spans(data)
        found.sort()
        joined: list[tuple[int, int]] = []
        for start, end in found:
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return joined

    def _broken_spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where forms are that were broken into lines."""
        flat = data.translate(None, _LINE_ENDS)
        if len(flat) == len(data):
            return []
        found = []
        for form in self._encoded:
            at = flat.find(form)
            while at >= 0:
                found.append((at, at + len(form) - 1))
                at = flat.find(form, at + 1)
        if not found:
            return []
        places = _places(data)
        return [(places[first], places[last] + 1) for first, last in found]

    def held_from(self, data: bytes) -> int:
        """Where the longest end of ``data`` begins that a form may begin with; its length when none does."""
        return _longest_end(data, self._heads, self.longest)

    def broken_from(self, data: bytes) -> int:
        """The same of forms that are broken into lines."""
        tail = data[-3 * self._longest_encoded :]  # Lines of one letter, ended as a terminal does, are the shortest.
        flat = tail.translate(None, _LINE_ENDS)
        if len(flat) == len(tail):
            return len(data)
        at = _longest_end(flat, self._encoded_heads, self._longest_encoded)
        return len(data) if at == len(flat) else len(data) - len(tail) + _places(tail)[at]

    def may_show(self, beginning: bytes) -> bool:
        """Tells whether so little of every form that it may begin tells nothing."""
        return _tells_nothing(beginning, self._heads) and self.may_show_broken(beginning)

    def may_show_broken(self, beginning: bytes) -> bool:
        """The same of forms that are broken into lines."""
        return _tells_nothing(beginning.translate(None, _LINE_ENDS), self._encoded_heads)


def _by_head(forms: Iterable[bytes]) -> dict[int, list[bytes]]:
    """By the first byte."""
    heads: dict[int, list[bytes]] = {}
    for form in forms:
        heads.setdefault(form[0], []).append(form)
    return heads


def _places(data: bytes) -> list[int]:
    """Where each byte stands that is no end of a line."""
    return [at for at, byte in enumerate(data) if byte not in _LINE_ENDS]


def _longest_end(data: bytes, heads: dict[int, list[bytes]], longest: int) -> int:
    for at in range(max(0, len(data) - longest + 1), len(data)):
        forms = heads.get(data[at])
        if forms is not None:
            rest = data[at:]
            if any(len(form) > len(rest) and form.startswith(rest) for form in forms):
                return at
    return len(data)


def _tells_nothing(beginning: bytes, heads: dict[int, list[bytes]]) -> bool:
    for at in range(len(beginning)):
        rest = beginning[at:]
        for form in heads.get(rest[0], ()):
            allowed = min(MAX_SHOWN_BYTES, len(form) // MIN_FORM_BYTES)
            if len(rest) > allowed and len(form) > len(rest) and form.startswith(rest):
                return False
    return True


class Redactor:
    """Takes one stream of output piece by piece and gives it back without secrets."""

    __slots__ = ("_covered", "_forms", "_held", "_masked", "_shown")

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._held = b""
        self._covered = 0
        """So much of what is held is the end of a secret that was masked already."""
        self._masked = False
        self._shown = 0
        """So much of what is held was given back: the rest of a secret is masked even so."""

    @property
    def holds(self) -> bool:
        """Something is held back."""
        return self._shown < len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Takes what was read and returns what may be written down now."""
        data = self._held + data
        spans = self._spans(data)
        until = self._forms.held_from(data)
        kept = min(until, self._forms.broken_from(data))
        if not self._forms.may_show_broken(data[kept:]):
            until = kept
        # Else a line that ends as a form begins is not late for it; what follows on the next line is masked even so.
        out = self._masked_until(data, spans, until)
        self._held = data[kept:]
        self._shown = max(until, self._shown) - kept
        self._covered = max(0, max((end for start, end in spans if start <= until), default=0) - kept)
        return out

    def show(self) -> bytes:
        """What is held, if it tells nothing even when it is the beginning of a secret; when more may come at any time,
        and somebody waits for this."""
        if not self.holds or not self._forms.may_show(self._held):
            return b""
        out = self._masked_until(self._held, self._spans(self._held), len(self._held))
        self._shown = len(self._held)
        return out

    def flush(self) -> bytes:
        """The rest, at the end of the stream."""
        out = self._masked_until(self._held, self._spans(self._held), len(self._held))
        self._held, self._covered, self._shown = b"", 0, 0
        return out

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        spans = self._forms.spans(data)
        return _with_start(spans, self._covered) if self._covered else spans

    def _masked_until(self, data: bytes, spans: list[tuple[int, int]], until: int) -> bytes:
        parts = []
        at = self._shown
        for start, end in spans:
            if start >= until:
                break
            if end <= at:
                continue
            if start > at:
                parts.append(data[at:start])
                self._masked = False
            if not self._masked:
                parts.append(MASK)
                self._masked = True
            at = min(end, until)
        if at < until:
            parts.append(data[at:until])
            self._masked = False
        return b"".join(parts)


def _with_start(spans: list[tuple[int, int]], covered: int) -> list[tuple[int, int]]:
    """The spans, with what is masked already from the beginning on."""
    end = covered
    while spans and spans[0][0] <= end:
        end = max(end, spans.pop(0)[1])
    return [(0, end), *spans]
