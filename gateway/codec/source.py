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
        self._shared: dict[tuple[str, Any], str] = {}
        self._count = 0

    def name(self, hint: str) -> str:
        """A new name, to be bound by ``compile`` or ``later``."""
        self._count += 1
        return f"{hint}_{self._count}"

    def bind(self, hint: str, value: Any) -> str:
        """A new name for a value."""
        name = self.name(hint)
        self._globals[name] = value
        return name

    def shared(self, hint: str, value: Any) -> str:
        """As ``bind``, with one name for all bindings of an equal value."""
        key = (hint, value)
        if key not in self._shared:
            self._shared[key] = self.bind(hint, value)
        return self._shared[key]

    def constant(self, value: Any) -> str:
        """The one name of a function or class that many pieces of code use."""
        name: str = value.__name__
        self._globals[name] = value
        return name

    def compile(self, name: str, parameters: str, lines: list[str]) -> Callable[..., Any]:
        """The function with these lines as its body, bound to its name."""
        text = "\n    ".join([f"def {name}({parameters}):", *lines])
        exec(compile(text, f"<generated {name}>", "exec"), self._globals)
        return self.function(name)

    def later(self, name: str, parameters: str, lines: Callable[[], list[str]]) -> None:
        """As ``compile``, when the function is first called: most of what could be needed never is."""

        def stand_in(*arguments: Any) -> Any:
            return self.compile(name, parameters, lines())(*arguments)

        self._globals[name] = stand_in

    def function(self, name: str) -> Callable[..., Any]:
        """A function that was compiled, as it is now: for one that comes ``later`` ask at each call."""
        return self._globals[name]  # type: ignore[no-any-return]

    def caller(self, name: str) -> Callable[[Any, Any], Any]:
        """Calls whatever function of two parameters has the name by then."""
        known = self._globals
        return lambda one, two: known[name](one, two)
