"""The route table: (method, raw path) → the RPC it is for, and the texts of its path variables.

A trie of segments. A literal is tried before ``*`` before ``**``, with backtracking, for one method at a time: so
a literal that knows the path but not the method does not hide a variable that knows both, and 405 is
answered only when no route of any method matches. The table knows nothing of what it routes to: the target is
whatever was added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.escapes import EscapeError, decode, decode_keeping_slashes
from gateway.template import MANY, ONE, Segment, Template, literal_path

T = TypeVar("T")

ANY_METHOD = "*"


class RouteConflict(ValueError):
    """Two RPCs claim one method and path."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One binding of one RPC. ``condition`` is the identity of its selector; None: it takes every request."""

    target: T
    template: Template
    name: str
    condition: str | None = None
    trailing_slash: bool = False


@dataclass(slots=True)
class Match(Generic[T]):
    """What a path led to: the entries to choose from (conditional ones first), and the segments of the path."""

    entries: list[Entry[T]]
    raw: list[str]

    def variables(self, entry: Entry[T]) -> dict[tuple[str, ...], str]:
        """The decoded text of each variable of a matched entry."""
        template, raw = entry.template, self.raw
        values: dict[tuple[str, ...], str] = {}
        if template.single:
            for variable in template.variables:
                values[variable.path] = decode(raw[variable.start])
            return values
        # Segments that `**` covers beyond (or short of) its own one.
        extra = len(raw) - len(template.segments)
        many = template.many if template.many is not None else len(raw)
        for variable in template.variables:
            start = variable.start + (extra if variable.start > many else 0)
            end = variable.end + (extra if variable.end > many else 0)
            if variable.single:
                values[variable.path] = decode(raw[start])
            else:
                values[variable.path] = "/".join(map(decode_keeping_slashes, raw[start:end]))
        return values


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[str, _Node[T]] = field(default_factory=dict)
    one: _Node[T] | None = None
    many: _Node[T] | None = None
    leaves: dict[tuple[str | None, str], list[Entry[T]]] = field(default_factory=dict)  # (verb, method)


class RouteTable(Generic[T]):
    """Built once, then only read."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._literal: dict[tuple[str, str], list[Entry[T]]] = {}  # (method, path)
        self._one_at_end: dict[tuple[str, str], list[Entry[T]]] = {}  # (method, path without its last segment)
        self._verbs: set[str] = set()
        self._slashes = False
        self._any_method = False

    def add(self, method: str, entry: Entry[T]) -> None:
        """Adds a binding; raises ``RouteConflict`` naming both RPCs when the place is taken."""
        node = self._root
        for segment in entry.template.segments:
            if segment.kind == ONE:
                node.one = node = node.one or _Node()
            elif segment.kind == MANY:
                node.many = node = node.many or _Node()
            else:
                node = node.literals.setdefault(segment.literal, _Node())
        verb = entry.template.verb
        if verb is not None:
            self._verbs.add(verb)
        self._slashes = self._slashes or entry.trailing_slash
        self._any_method = self._any_method or method == ANY_METHOD
        entries = node.leaves.setdefault((verb, method), [])
        for other in entries:
            if other.condition == entry.condition:
                raise RouteConflict(
                    f"{method} {entry.template.text} of {entry.name} is the same route as "
                    f"{method} {other.template.text} of {other.name}"
                )
        entries.append(entry)
        entries.sort(key=lambda each: each.condition is None)
        self._keep(method, entry.template, entries)

    def find(self, method: str, raw_path: str) -> Match[T] | None:
        """The best match for a method and a raw path; None when there is none. Raises ``EscapeError``."""
        match = self._at_once(method, raw_path) or self._find(method, raw_path)
        if match is not None or not self._has_bare_form(raw_path):
            return match
        match = self._find(method, raw_path[:-1])
        if match is not None:
            match.entries = [entry for entry in match.entries if entry.trailing_slash]
        return match if match is not None and match.entries else None

    def methods(self, raw_path: str) -> list[str]:
        """Every method that some route has for a path, HEAD with GET; sorted, empty for an unknown path."""
        try:
            found = self._methods(raw_path)
            if not found and self._has_bare_form(raw_path):
                found = {method for method in self._methods(raw_path[:-1]) if self.find(method, raw_path)}
        except EscapeError:
            return []
        if "GET" in found:
            found.add("HEAD")
        return sorted(found)

    def _keep(self, method: str, template: Template, entries: list[Entry[T]]) -> None:
        """Keeps what ``_at_once`` can find."""
        *before, last = template.segments or (Segment(""),)
        path = literal_path(template.segments, template.verb)
        if path is not None:
            self._literal[method, path or "/"] = entries
            return
        head = literal_path(before)
        if head is None or template.verb is not None:
            return
        if last.kind == ONE:
            self._one_at_end[method, head] = entries
        elif last.kind == MANY and head:
            # No segment at all: after the literal of that text, before everything else.
            self._literal.setdefault((method, head), entries)

    def _at_once(self, method: str, raw_path: str) -> Match[T] | None:
        """The match of a path that is all literal, or literal but for a variable at its end; None where it has to be
        looked for.

        Most routes are of these shapes, and of all that match a path they are the first and the second in the order of
        precedence: nothing else has to be tried. That takes a third of the time of a walk down the trie.
        """
        entries = self._literal.get((method, raw_path))
        if entries is None:
            head, _, last = raw_path.rpartition("/")
            if not last or "%" in last or ":" in last or not last.isascii():
                return None
            entries = self._one_at_end.get((method, head))
            if entries is None:
                return None
        return Match(entries, raw_path[1:].split("/"))

    def _find(self, method: str, raw_path: str) -> Match[T] | None:
        if "%" not in raw_path and raw_path.isascii() and (":" not in raw_path or not self._verbs):
            raw = raw_path[1:].split("/") if raw_path != "/" else []
            if raw_path[:1] != "/":
                return None
            entries = _search(self._root, raw, 0, (None, method))
            if entries is None and self._any_method:
                entries = _search(self._root, raw, 0, (None, ANY_METHOD))
            return None if entries is None else Match(entries, raw)
        for raw, segments, verb in self._readings(raw_path):
            for wanted in (method, ANY_METHOD):
                entries = _search(self._root, segments, 0, (verb, wanted))
                if entries is not None:
                    return Match(entries, raw)
        return None

    def _methods(self, raw_path: str) -> set[str]:
        found: set[str] = set()
        for _, segments, verb in self._readings(raw_path):
            found |= _methods(self._root, segments, 0, verb)
        return found

    def _has_bare_form(self, raw_path: str) -> bool:
        return self._slashes and len(raw_path) > 1 and raw_path.endswith("/")

    def _readings(self, raw_path: str) -> Iterator[tuple[list[str], list[str], str | None]]:
        """The ways to read a path: with its last segment split at a registered verb, then whole."""
        if not raw_path.startswith("/"):
            return
        raw = raw_path[1:].split("/") if raw_path != "/" else []
        plain = "%" not in raw_path and raw_path.isascii()
        segments = raw if plain else [decode(segment) for segment in raw]
        if raw and self._verbs and ":" in raw[-1]:
            # The raw text is split: %3A is never the verb's colon.
            head, _, verb = raw[-1].rpartition(":")
            if verb in self._verbs:
                yield [*raw[:-1], head], [*segments[:-1], decode(head)], verb
        yield raw, segments, None


def _search(node: _Node[T], segments: list[str], index: int, leaf: tuple[str | None, str]) -> list[Entry[T]] | None:
    count = len(segments)
    while index < count:
        segment = segments[index]
        child = node.literals.get(segment)
        if child is None:
            # Where there is one way only, no way back is kept.
            if node.many is None:
                if node.one is None or not segment:
                    return None
                node, index = node.one, index + 1
                continue
        elif node.one is None and node.many is None:
            node, index = child, index + 1
            continue
        return _search_all(node, child, segments, index, leaf)
    entries = node.leaves.get(leaf)
    if entries is not None:
        return entries
    # `**` also covers no segment at all.
    return node.many.leaves.get(leaf) if node.many is not None else None


def _search_all(
    node: _Node[T], child: _Node[T] | None, segments: list[str], index: int, leaf: tuple[str | None, str]
) -> list[Entry[T]] | None:
    """Tries the ways on from a node in their order."""
    if child is not None:
        entries = _search(child, segments, index + 1, leaf)
        if entries is not None:
            return entries
    if node.one is not None and segments[index]:
        entries = _search(node.one, segments, index + 1, leaf)
        if entries is not None:
            return entries
    if node.many is not None:
        for end in _ends(node.many, segments, index):
            entries = _search(node.many, segments, end, leaf)
            if entries is not None:
                return entries
    return None


def _methods(node: _Node[T], segments: list[str], index: int, verb: str | None) -> set[str]:
    found: set[str] = set()
    if index == len(segments):
        found.update(method for leaf_verb, method in node.leaves if leaf_verb == verb)
        if node.many is not None:
            found.update(method for leaf_verb, method in node.many.leaves if leaf_verb == verb)
        return found
    child = node.literals.get(segments[index])
    if child is not None:
        found |= _methods(child, segments, index + 1, verb)
    if node.one is not None and segments[index]:
        found |= _methods(node.one, segments, index + 1, verb)
    if node.many is not None:
        for end in _ends(node.many, segments, index):
            found |= _methods(node.many, segments, end, verb)
    return found


def _ends(node: _Node[T], segments: list[str], index: int) -> Iterator[int]:
    """Where the segments that a ``**`` covers may end. It covers no empty segment.

    Literals after it win over covering all, and among those the longest cover.
    """
    limit = index
    while limit < len(segments) and segments[limit]:
        limit += 1
    if node.literals:
        yield from range(limit - 1, index - 1, -1)
    if limit == len(segments):
        yield limit
