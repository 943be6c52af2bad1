"""No row of the contract and no option without a table test that names it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from checklist import COVERED, ROWS, options

HERE = Path(__file__).resolve().parent
CONTRACT = HERE.parent.parent.parent / "shared" / "contract" / "transcoder.md"


def test_every_row_and_every_option_has_a_table_and_every_claim_is_one_of_theirs() -> None:
    for path in sorted(HERE.glob("test_*.py")):
        import_module(path.stem)
    owed = [row["id"] for row in ROWS] + options()
    assert len(owed) == len(set(owed))
    assert [name for name in owed if name not in COVERED] == []
    assert [name for name in COVERED if name not in owed] == []


def test_the_copy_is_the_page() -> None:
    if not CONTRACT.exists():
        pytest.skip("the page of the contract is not beside this repository")
    lines = [line for line in CONTRACT.read_text().splitlines() if line.startswith("| ")][1:]
    page = [tuple(cell.strip() for cell in line.strip("|").split(" | "))[:2] for line in lines]
    assert [(row["concern"], row["ours"]) for row in ROWS] == [(one.strip(), two.strip()) for one, two in page]
