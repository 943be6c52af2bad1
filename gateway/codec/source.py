"""Small functions written as text and compiled: straight-line code per message type instead of a closure per field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Namespace:
    """The globals of a family of generated functions, which may call each other by name.

    Names of fields enter generated code only as ``repr`` of a string or as identifiers that protoc accepted; all else
    is bound to a name made here.
    """

    def __init__(self) -> None:
        self._globals: dict[str, Any] = {}
        self._count = 0

    def name(self, hint: str) -> str:
        """A new name, to be bound by ``compile``."""
        self._count += 1
        return f"{hint}_{self._count}"

    def bind(self, hint: str, value: Any) -> str:
        """A new name for a value."""
        name = self.name(hint)
        self._globals[name] = value
        return name

    def compile(self, name: str, parameter: str, lines: list[str]) -> Callable[[Any], Any]:
        """The function of one parameter with these lines as its body, bound to its name."""
        text = "\n    ".join([f"def {name}({parameter}):", *lines])
        exec(compile(text, f"<generated {name}>", "exec"), self._globals)
        return self.function(name)

    def function(self, name: str) -> Callable[[Any], Any]:
        """A function that was compiled."""
        return self._globals[name]  # type: ignore[no-any-return]
