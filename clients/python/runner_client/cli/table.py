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

_GAP = 2
_LAST = 12
"""Of the last column so much is always to be seen."""


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
    """Returns the table for a terminal: ids whole, only the last column is cut. Where that would leave nothing of it,
    the columns before it are left out instead, from the right."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(heads, *texts, strict=True)]
    width = Console().width
    shown = _that_fit(widths, width)
    left = width - sum(widths[number] + _GAP for number in shown[:-1])
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for number in shown[:-1]:
        table.add_column(heads[number], no_wrap=True, overflow="ignore", min_width=widths[number])
    table.add_column(heads[-1], no_wrap=True, overflow="ellipsis", max_width=max(1, left))
    for row in texts:
        table.add_row(*(Text(row[number], style=STATE_STYLES.get(row[number], "")) for number in shown))
    return table


def _that_fit(widths: Sequence[int], width: int) -> list[int]:
    """The columns that a terminal has room for: always the first and the last, others if the last keeps some of it."""
    shown = list(range(len(widths)))
    while len(shown) > 2:
        left = width - sum(widths[number] + _GAP for number in shown[:-1])
        if left >= min(widths[-1], _LAST):
            break
        del shown[-2]
    return shown
