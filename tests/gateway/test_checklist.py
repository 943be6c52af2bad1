"""No row of the contract and no option without a table test that names it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from checklist import COVERED, ROWS, options

HERE = Path(__file__).resolve().parent
PAGE: dict[str, Any] = yaml.safe_load((HERE / "sentences.yaml").read_text())
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


def test_every_sentence_names_tests_that_there_are() -> None:
    texts = {path.name: path.read_text() for path in HERE.glob("test_*.py")}
    named = [each.split("::") for sentence in PAGE["sentences"] for each in sentence["tests"]]
    assert [name for module, name in named if f"def {name}(" not in texts.get(module, "")] == []


def test_a_test_takes_every_backend_or_says_why_it_need_not(request: pytest.FixtureRequest) -> None:
    """Of all that is collected: in a run of the room, that is everything but what is slow."""
    ours = [item for item in request.session.items if item.path.parent == HERE and isinstance(item, pytest.Function)]
    one = {f"{item.path.name}::{item.originalname}" for item in ours if "backend" not in item.fixturenames}
    excused = set(PAGE["one_backend"])
    assert sorted(name for name in one if not {name, name.split("::")[0]} & excused) == []
    texts = {path.name: path.read_text() for path in HERE.glob("test_*.py")}
    assert [
        name for name in excused if f"def {name.partition('::')[2]}" not in texts.get(name.split("::")[0], "")
    ] == []
    needed = one | {name.split("::")[0] for name in one}
    here = {f"{item.path.name}::{item.originalname}" for item in ours} | {item.path.name for item in ours}
    assert sorted((excused & here) - needed) == [], "excused for nothing"
