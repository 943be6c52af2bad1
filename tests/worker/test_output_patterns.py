"""Which files the outputs of a job match."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner_service.worker.files import matches


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "job"
    for name in ("a.txt", "b.log", "out/c.txt", "out/deep/d.txt", "out/.hidden", ".top", "sp ace", "out/\udcff"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name.encode("utf-8", "replace").decode())
    (tmp_path / "outside.txt").write_text("x")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "inner.txt").symlink_to(root / "a.txt")
    (root / "away").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    return root


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["a.txt"], ["a.txt"]),
        (["*.txt"], ["a.txt"]),
        (["none", "?.log"], ["b.log"]),
        (["out"], ["out/.hidden", "out/c.txt", "out/deep/d.txt"]),
        (["out/"], ["out/.hidden", "out/c.txt", "out/deep/d.txt"]),
        (["**/*.txt"], ["a.txt", "out/c.txt", "out/deep/d.txt"]),
        (["out/*", "out/c.txt"], ["out/.hidden", "out/c.txt", "out/deep/d.txt"]),
        (["[ab].*", "sp ace", ".top"], [".top", "a.txt", "b.log", "sp ace"]),
        (["away/*", "link.txt", "loop/a.txt", "away/outside.txt"], []),
    ],
)
def test_patterns_match_files_of_the_directory_alone(tree: Path, patterns: list[str], names: list[str]) -> None:
    assert list(matches(tree, patterns)) == names


def test_a_directory_that_is_gone_has_none(tmp_path: Path) -> None:
    assert list(matches(tmp_path / "none", ["**"])) == []
