"""Path templates of ``google.api.http``, parsed.

::

    Template = "/" [ Segments [ Verb ] ] ;
    Segments = Segment { "/" Segment } ;
    Segment  = "*" | "**" | LITERAL | Variable ;
    Variable = "{" FieldPath [ "=" Segments ] "}" ;
    FieldPath = IDENT { "." IDENT } ;
    Verb     = ":" LITERAL ;

Beyond the specification, ``**`` may be followed by literals (``/v1/{name=**}/logs``) and ``/`` alone is the root.
A variable inside a variable, a second ``**``, an empty segment and a trailing slash are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote_to_bytes

ONE = "*"
MANY = "**"

_IDENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9\-._~!$&'()+,;=@]*")
_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()+,;=@]|%[0-9A-Fa-f]{2})+")


class TemplateError(ValueError):
    """A path template that is not one; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A part of the path that fills a field."""

    path: tuple[str, ...]
    """The field path, ``("job", "name")`` for ``{job.name}``."""
    start: int
    """Index of the first segment that it covers."""
    end: int
    """Index after the last segment that it covers."""
    single: bool
    """Covers exactly one segment, in which ``%2F`` is an ordinary character."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: its segments (``*``, ``**`` or a decoded literal) without braces, and its variables."""

    text: str
    segments: tuple[Segment, ...]
    verb: str | None
    variables: tuple[Variable, ...]
    many: int | None = None
    """Index of the ``**``."""
    single: bool = False
    """Every variable is one segment, at the index that it has in the template."""

    @property
    def shape(self) -> str:
        """What the template matches, free of names: equal for templates that match the same paths."""
        parts = "/".join(s.kind or "=" + s.literal for s in self.segments)
        return f"{parts}:{self.verb}" if self.verb is not None else parts


@dataclass(frozen=True, slots=True)
class Segment:
    """``kind`` is ``*``, ``**`` or empty for a literal."""

    kind: str
    literal: str = ""


def literal_path(segments: Sequence[Segment], verb: str | None = None) -> str | None:
    """The raw path of literals, empty for none; None where a segment is a variable, or where a path of that text may
    mean another: a literal that was written with escapes may hold what is special in a raw path."""
    literals = [segment.literal for segment in segments]
    if any(segment.kind for segment in segments) or not all(map(_PLAIN.fullmatch, [*literals, verb or ""])):
        return None
    path = "".join(f"/{literal}" for literal in literals)
    return path if verb is None else f"{path}:{verb}"


def parse_template(text: str) -> Template:
    """Parses a template; raises ``TemplateError``."""
    return _Parser(text).template()


class _Parser:
    """Recursive descent over the grammar above, a method per rule."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.segments: list[Segment] = []
        self.variables: list[Variable] = []

    def template(self) -> Template:
        self.expect("/")
        verb = None
        if self.position < len(self.text):
            self.parse_segments(inside_variable=False)
            if self.accept(":"):
                verb = self.literal()
        if self.position < len(self.text):
            self.fail(f"unexpected {self.text[self.position]!r}")
        if sum(segment.kind == MANY for segment in self.segments) > 1:
            self.fail("`**` is there twice")
        after_many = False
        for segment in self.segments:
            if after_many and segment.kind:
                self.fail("only literals may follow `**`")
            after_many = after_many or segment.kind == MANY
        paths = [variable.path for variable in self.variables]
        if len(set(paths)) != len(paths):
            self.fail("a variable is bound twice")
        many = next((i for i, segment in enumerate(self.segments) if segment.kind == MANY), None)
        single = many is None and all(variable.single for variable in self.variables)
        return Template(self.text, tuple(self.segments), verb, tuple(self.variables), many, single)

    def parse_segments(self, *, inside_variable: bool) -> None:
        self.segment(inside_variable=inside_variable)
        while self.accept("/"):
            self.segment(inside_variable=inside_variable)

    def segment(self, *, inside_variable: bool) -> None:
        if self.accept("**"):
            self.segments.append(Segment(MANY))
        elif self.accept("*"):
            self.segments.append(Segment(ONE))
        elif self.text.startswith("{", self.position):
            if inside_variable:
                self.fail("a variable inside a variable")
            self.variable()
        else:
            self.segments.append(Segment("", self.literal()))

    def variable(self) -> None:
        self.expect("{")
        path = [self.identifier()]
        while self.accept("."):
            path.append(self.identifier())
        start = len(self.segments)
        if self.accept("="):
            self.parse_segments(inside_variable=True)
        else:
            self.segments.append(Segment(ONE))
        self.expect("}")
        covered = self.segments[start:]
        single = len(covered) == 1 and covered[0].kind != MANY
        self.variables.append(Variable(tuple(path), start, len(self.segments), single))

    def identifier(self) -> str:
        match = _IDENT.match(self.text, self.position)
        if match is None:
            self.fail("expected a field name")
        self.position = match.end()
        return match[0]

    def literal(self) -> str:
        match = _LITERAL.match(self.text, self.position)
        if match is None:
            self.fail("expected a segment" if self.position < len(self.text) else "an empty segment at the end")
        self.position = match.end()
        try:
            return unquote_to_bytes(match[0]).decode()
        except UnicodeDecodeError:
            self.fail("a literal that is not UTF-8")

    def accept(self, token: str) -> bool:
        if self.text.startswith(token, self.position):
            self.position += len(token)
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            self.fail(f"expected {token!r}")

    def fail(self, why: str) -> NoReturn:
        raise TemplateError(f"path template {self.text!r}: {why} at character {self.position + 1}")
