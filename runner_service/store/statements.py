"""Statements that are written once in SQLAlchemy Core, compiled once per engine, and run by the bare driver.

Core knows the dialects; its execution layer costs several times what SQLite itself needs for a statement, and a
short job takes about twenty. So the text is compiled at first use and handed to the driver with a mapping of values.
Only plain types (text, integer, bytes) are used, which need no conversion on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import BigInteger, Text, bindparam, literal_column
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.crud import REQUIRED
from sqlalchemy.sql.elements import BindParameter, ClauseElement, ColumnElement

from runner_service.domain.jobs import Micros

Row = Sequence[Any]
Values = Mapping[str, Any]


class Query:
    """One statement. ``columns`` names what an INSERT sets, when that is not every column."""

    __slots__ = ("_columns", "_construct", "_texts")

    def __init__(self, construct: ClauseElement, *, columns: Iterable[str] | None = None) -> None:
        self._construct = construct
        self._columns = None if columns is None else list(columns)
        self._texts: dict[str, str] = {}

    def text(self, dialect: Dialect) -> str:
        try:
            return self._texts[dialect.name]
        except KeyError:
            compiled = self._construct.compile(dialect=dialect, column_keys=self._columns)
            text = str(compiled)
            for name, value in compiled.params.items():
                if value not in (None, REQUIRED):
                    # Only what the dialect itself adds, e.g. OFFSET 0; our own are written as number() or word().
                    assert value == 0, f"{name} = {value} must be in the text"
                    text = text.replace(f":{name}", "0")
            return self._texts.setdefault(dialect.name, text)


class Connection(Protocol):
    """What the query functions ``f(conn, …)`` work with: one transaction of one engine.

    A function may be run again from its start when its transaction could not be committed.
    """

    dialect: Dialect
    caches: dict[type, Any]
    """What is worth keeping between transactions, by type; only facts that never change."""

    def all(self, query: Query, values: Values = ..., /) -> Sequence[Row]:
        """Runs a query and returns its rows."""
        ...

    def one(self, query: Query, values: Values = ..., /) -> Row | None:
        """Runs a query and returns its first row."""
        ...

    def run(self, query: Query, values: Values = ..., /) -> int:
        """Runs a statement and returns how many rows it touched."""
        ...

    def many(self, query: Query, rows: Sequence[Values], /) -> None:
        """Runs a statement once per row of values, in order."""
        ...

    def array(self, values: Iterable[str], /) -> Any:
        """A list as a value for `among`."""
        ...

    def now(self) -> Micros:
        """The time of the store's clock; on PostgreSQL, asked once per transaction."""
        ...

    def serialize(self, lock: int, /) -> None:
        """Lets transactions that name the same lock happen one after the other. SQLite writes so anyway."""
        ...

    def settled(self) -> tuple[int | None, bool]:
        """Up to which event sequence no transaction can still add one (None: any), and whether that is all there is."""
        ...

    def reclaim(self) -> None:
        """Gives some free pages back to the file system, where the engine needs to be told."""
        ...


def word(value: str) -> ColumnElement[str]:
    """A literal in the text: indexes over a part of a table are only used when their condition is literal."""
    assert value.replace("_", "").isalnum()
    return literal_column(f"'{value}'", Text)


def number(value: int) -> ColumnElement[int]:
    """A literal number in the text."""
    return literal_column(str(value), BigInteger)


def integer(name: str) -> BindParameter[int]:
    """A named integer."""
    return bindparam(name, type_=BigInteger())


def string(name: str) -> BindParameter[str]:
    """A named string."""
    return bindparam(name, type_=Text())


class among(ColumnElement[bool]):
    """``column`` is one of a list of strings that is passed as one value (`Connection.array`)."""

    inherit_cache = False

    def __init__(self, column: ColumnElement[str], name: str) -> None:
        self.column = column
        self.name = name


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **kwargs: Any) -> str:
    values = compiler.process(bindparam(element.name, type_=Text()), **kwargs)
    return f"{compiler.process(element.column, **kwargs)} IN (SELECT value FROM json_each({values}))"


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **kwargs: Any) -> str:
    values = compiler.process(bindparam(element.name, type_=ARRAY(Text())), **kwargs)
    return f"{compiler.process(element.column, **kwargs)} = ANY({values})"
