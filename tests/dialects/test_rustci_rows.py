"""No row of RustCI's contract without a test that drives it."""

from __future__ import annotations

import fnmatch
from importlib import import_module

from rustci_rows import DRIVEN, drivers_of, rows

MODULES = ("contract", "refusals", "decisions", "runners", "guard")


def test_every_row_of_the_contract_is_driven_and_every_claim_is_one_of_a_row() -> None:
    for name in MODULES:
        import_module(f"test_rustci_{name}")
    all_rows = list(rows())
    assert len(all_rows) == len(set(all_rows))
    assert [row for row in all_rows if not drivers_of(row)] == []
    assert [pattern for pattern in DRIVEN if not fnmatch.filter(all_rows, pattern)] == []
