"""Cells on directories that look like cgroups: v2 has no controllers on many machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner_service.worker.supervisor.cells import CONTROLLERS, HEADROOM, LEAST_MEMORY, V1, V2, Cells, Limits

FILES = ("cgroup.procs", "pids.max", "memory.max", "memory.swap.max", "cpu.max")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "cgroup.procs").touch()
    (tmp_path / "a").mkdir()
    for name in FILES:
        (tmp_path / "a" / name).touch()
    (tmp_path / "a" / "memory.events").write_text("low 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n")
    (tmp_path / "a" / "memory.peak").write_text("1048576\n")
    return tmp_path


def cells(place: Path, most: Limits) -> Cells:
    return Cells(V2, dict.fromkeys(CONTROLLERS, str(place)), dict.fromkeys(CONTROLLERS, f"{place}/jobs"), most)


def said(place: Path) -> dict[str, str]:
    return {name: text for name in FILES if (text := (place / "a" / name).read_text())}


def test_limits_are_written_as_v2_has_them(place: Path) -> None:
    cell = cells(place, Limits()).make("a", Limits(1.5, 1 << 30, 100))
    assert cell is not None and cell.exact
    assert cell.enforced == Limits(1.5, 1 << 30, 100)
    assert said(place) == {
        "pids.max": "100",
        "memory.max": str(1 << 30),
        "memory.swap.max": "0",
        "cpu.max": "150000 100000",
    }
    assert (cell.oom_kills(), cell.peak_memory()) == (2, 1 << 20)


def test_the_supervisor_is_in_a_cell_for_the_moment_of_a_spawn_and_does_not_count(place: Path) -> None:
    cell = cells(place, Limits()).make("a", Limits(processes=5))
    assert cell is not None
    cell.enter()
    cell.leave()
    assert said(place)["pids.max"] == "5"  # Nobody is there yet whose place it could take.
    cell.enter()
    assert said(place) == {"pids.max": "6", "cgroup.procs": "0"}
    cell.leave()
    assert (place / "jobs" / "cgroup.procs").read_text() == "0"
    assert said(place)["pids.max"][0] == "5"
    cell.close()
    assert said(place)["pids.max"][0] == "0"


def test_no_limit_of_a_job_holds_up_or_ends_the_supervisor(place: Path) -> None:
    cell = cells(place, Limits()).make("a", Limits(0.5, 1 << 30))
    assert cell is not None
    cell.enter()
    assert said(place)["cpu.max"][:3] == "max"  # A quota that is used up would keep it there.
    assert said(place)["memory.max"] == str(1 << 30)
    cell.leave()
    cell.enter()
    assert said(place)["memory.max"] == str((1 << 30) + HEADROOM)  # The first step may have left it nothing.
    cell.leave()
    assert (said(place)["cpu.max"], said(place)["memory.max"]) == ("50000 100000", str(1 << 30))


def test_a_process_can_start_in_any_limit_of_memory(place: Path) -> None:
    cell = cells(place, Limits()).make("a", Limits(memory_bytes=1))
    assert cell is not None and cell.enforced.memory_bytes == LEAST_MEMORY
    assert said(place)["memory.max"] == str(LEAST_MEMORY)


def test_a_job_without_limits_shares_the_leaf_and_the_runners_limits_are_the_most(place: Path) -> None:
    assert cells(place, Limits(processes=4096)).make("a", Limits()) is None
    cell = cells(place, Limits(cpus=2, processes=50)).make("a", Limits(cpus=4, processes=20))
    assert cell is not None and cell.enforced == Limits(2, 0, 20)


def test_where_there_are_threads_every_job_has_a_cell_and_those_with_a_limit_of_memory_another(place: Path) -> None:
    jobs = place / "jobs"
    (jobs / "cgroup.threads").touch()
    (jobs / "b").mkdir()
    for name in ("cgroup.type", "cgroup.threads", "pids.max", "cpu.max"):
        (jobs / "b" / name).touch()
    maker = Cells(
        V2,
        dict.fromkeys(CONTROLLERS, str(place)),
        dict.fromkeys(CONTROLLERS, str(jobs)),
        Limits(processes=40),
        threads=True,
    )
    cell = maker.make("b", Limits(cpus=2))
    assert cell is not None and cell.exact and cell.enforced == Limits(2, 0, 40)
    assert (jobs / "b" / "cgroup.type").read_text() == "threaded"
    cell.enter()
    cell.leave()
    assert ((jobs / "b" / "cgroup.threads").read_text(), (jobs / "cgroup.threads").read_text()) == ("0", "0")
    (jobs / "b" / "cgroup.threads").write_text(f"{os.getpid()}\n{os.getppid()}\n{os.getppid()}\n")
    assert cell.pids() == [os.getppid()]  # Each process once, and never the supervisor.
    large = maker.make("a", Limits(memory_bytes=1 << 30))
    assert large is not None and large.enforced == Limits(0, 1 << 30, 40)
    assert (said(place)["memory.max"], said(place)["pids.max"]) == (str(1 << 30), "40")


def test_what_cannot_be_written_is_not_enforced(place: Path) -> None:
    (place / "a" / "memory.max").unlink()
    cell = cells(place, Limits()).make("a", Limits(1, 1 << 30, 5))
    assert cell is not None and cell.enforced == Limits(1, 0, 5)


@pytest.mark.parametrize(("most", "limit"), [(Limits(), "max\n"), (Limits(processes=7), "7\n")])
def test_a_cell_of_v1_is_the_next_ones_until_something_lives_in_it(tmp_path: Path, most: Limits, limit: str) -> None:
    for name in ("home", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tasks").touch()
    for name, text in {"cgroup.procs": "", "pids.current": "0\n", "pids.max": limit}.items():
        (tmp_path / "a" / name).write_text(text)
    made = Cells(V1, {"pids": str(tmp_path)}, {"pids": f"{tmp_path}/home"}, most)
    cell = made.make("a", Limits())
    assert cell is not None
    for attempt_id in ("b", "c", "d"):
        cell.enter()
        cell.leave()
        assert cell.pids() == []
        made.remove(cell)
        assert made.make(attempt_id, Limits()) is cell
    (tmp_path / "a" / "pids.current").write_text("1\n")
    (tmp_path / "a" / "cgroup.procs").write_text("1\n")
    assert cell.pids() == [1]
    made.remove(cell)
    assert made.make("e", Limits()) is not cell
