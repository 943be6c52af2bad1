"""A data directory is its server's alone."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from runner_service.data_directory import DataDirectoryBusy, DataDirectoryUnusable, take


async def test_a_new_or_empty_directory_is_made_private(tmp_path: Path) -> None:
    empty, new = tmp_path / "empty", tmp_path / "new"
    empty.mkdir(0o755)
    (empty / "lost+found").mkdir()
    async with AsyncExitStack() as stack:
        for directory in (empty, new):
            take(stack, directory)
            assert directory.stat().st_mode & 0o777 == 0o700


async def test_a_directory_that_others_use_too_is_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "of-others").touch()
    async with AsyncExitStack() as stack:
        with pytest.raises(DataDirectoryUnusable, match=f"{shared} holds other things"):
            take(stack, shared)
    assert shared.stat().st_mode & 0o7777 == 0o1777
    assert [path.name for path in shared.iterdir()] == ["of-others"]


async def test_one_that_was_opened_to_others_is_closed_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        take(stack, tmp_path / "data")
    (tmp_path / "data").chmod(0o755)
    async with AsyncExitStack() as stack:
        take(stack, tmp_path / "data")
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        with pytest.raises(DataDirectoryBusy):
            take(stack, tmp_path / "data")


async def test_what_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with AsyncExitStack() as stack:
        with pytest.raises(DataDirectoryUnusable, match=f"cannot use the data directory {tmp_path}/file/data: "):
            take(stack, tmp_path / "file" / "data")
