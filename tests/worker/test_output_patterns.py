"""Which files the outputs of a job match."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner_service.worker import files
from runner_service.worker.files import FilesFailed, matches
from runner_service.worker.link import Link
from runner_service.worker.times import WorkerTimes


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "job"
    for name in ("a.txt", "b.log", "out/c.txt", "out/deep/d.txt", "out/.hidden", ".top", "sp ace", "odd/\udcff"):
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
        (["odd"], ["odd/\udcff"]),
        (["away/*", "link.txt", "loop/a.txt", "away/outside.txt"], []),
    ],
)
def test_patterns_match_files_of_the_directory_alone(tree: Path, patterns: list[str], names: list[str]) -> None:
    assert list(matches(tree, patterns)) == names


async def test_an_output_whose_name_is_no_text_is_said_and_not_left_out(tree: Path) -> None:
    link = Link("127.0.0.1:1", times=WorkerTimes(), random=lambda: 0.0)  # Nothing is sent.
    with pytest.raises(FilesFailed, match=r"cannot keep the output 'odd/\\udcff': its name is not UTF-8"):
        await files.Files(link).keep("a", 1, tree, ["odd"])


async def test_a_directory_that_nobody_may_read_is_said_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("in/secret", "in/open"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in/open/file").write_text("x")
    scandir = os.scandir

    def guarded(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("secret"):  # Its mode would not hold us back when we are root.
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(files.os, "scandir", guarded)
    assert list(matches(tmp_path, ["in"])) == ["in/open/file", "in/secret"]
    assert list(matches(tmp_path, ["in/open/**"])) == ["in/open/file"]


def test_more_files_than_can_be_looked_at_are_said(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_SEEN", 8)
    assert len(list(matches(tree, ["**"]))) == 8
    monkeypatch.setattr(files, "MOST_SEEN", 7)
    with pytest.raises(FilesFailed, match="more than 7 files"):
        list(matches(tree, ["**"]))


def test_a_directory_that_is_gone_has_none(tmp_path: Path) -> None:
    assert list(matches(tmp_path / "none", ["**"])) == []
