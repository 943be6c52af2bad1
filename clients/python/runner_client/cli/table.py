"""Tables: rich on a terminal, plain aligned columns elsewhere, so that `awk` and `cut` find their fields."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner_client.cli.output import STDOUT, print_line
from runner_client.cli.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

Rows = Sequence[Sequence[str]]

STATE_STYLES = {
    "queued": "yellow",
    "assigned": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "failed": "red",
    "timed_out": "red",
    "lost": "red",
    "cancelled": "magenta",
    "active": "green",
    "error": "red",
}
"""Colours of the words that are states, wherever they stand."""


def on_terminal() -> bool:
    return os.isatty(STDOUT)


def print_table(heads: Sequence[str], rows: Rows) -> None:
    """Prints the rows below their heads; the last column takes what is left of the line."""
    if on_terminal():
        from rich.console import Console

        Console().print(rich_table(heads, rows))
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_line("  ".join(cells).rstrip())


def rich_table(heads: Sequence[str], rows: Rows) -> Table:
    """Returns the table for a terminal: ids whole, only the last column is cut."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, head in enumerate(heads, 1):
        table.add_column(head, no_wrap=True, overflow="ellipsis" if number == len(heads) else "ignore")
    for row in rows:
        table.add_row(*(Text(printable(cell), style=STATE_STYLES.get(cell, "")) for cell in row))
    return table
