"""contract/sct.md §5: the list's filters, pages and order, and what is in its objects."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sct_server import CONTRACT, Sct

MEMBERS = CONTRACT["job_members"]


@pytest.fixture(scope="module")
def jobs(sct: Sct) -> Iterator[dict[str, list[str]]]:
    """Five completed and two failed jobs, one cancelled and one running, by their status word; oldest first."""
    made = {
        "completed": [sct.submit("echo", str(number), tags={"room": "lists"}) for number in range(5)],
        "failed": [sct.submit("false"), sct.sh("true", timeout=-1)],
        "cancelled": [sct.submit("sleep", "1000")],
        "running": [sct.sh("echo up; exec sleep 1000")],
    }
    for job_id in made["completed"] + made["failed"]:
        sct.ended(job_id)
    assert sct.cancel(made["cancelled"][0]).status_code == 200
    sct.wrote(made["running"][0], "up")
    yield made
    sct.cancel(made["running"][0])


def ids(page: dict[str, Any]) -> list[str]:
    return [job["job_id"] for job in page["commands"]]


def test_the_page_has_its_four_members(sct: Sct, jobs: dict[str, list[str]]) -> None:
    page = sct.list()
    assert list(page) == ["commands", "total", "limit", "offset"]
    assert (page["limit"], page["offset"]) == (50, 0)
    assert page["total"] >= len(page["commands"]) >= 9


@pytest.mark.parametrize("word", ["queued", "running", "completed", "failed", "cancelled"])
def test_a_status_gives_its_jobs_and_no_others(sct: Sct, jobs: dict[str, list[str]], word: str) -> None:
    page = sct.list(status=word, limit=0)
    assert page["total"] == len(page["commands"])
    assert {job["status"] for job in page["commands"]} <= {word}
    assert set(jobs.get(word, [])) <= set(ids(page))


@pytest.mark.parametrize("word", ["Completed", "SUCCEEDED", "done", " completed", "completed,failed", "ä"])
def test_an_unknown_status_gives_an_empty_list(sct: Sct, jobs: dict[str, list[str]], word: str) -> None:
    assert sct.list(status=word) == {"commands": [], "total": 0, "limit": 50, "offset": 0}


@pytest.mark.parametrize(
    ("asked", "applied"),
    [
        ("3", 3),
        ("500", 500),
        ("501", 500),
        ("10000000000000", 500),
        ("0", 0),
        ("-1", 50),
        ("x", 50),
        ("1.5", 50),
        ("", 50),
    ],
)
def test_limits(sct: Sct, jobs: dict[str, list[str]], asked: str, applied: int) -> None:
    page = sct.list(limit=asked)
    assert page["limit"] == applied
    assert len(page["commands"]) == min(page["total"], applied or page["total"])


@pytest.mark.parametrize(("asked", "applied"), [("2", 2), ("-1", 0), ("x", 0), ("", 0), ("99999999999", 99999999999)])
def test_offsets(sct: Sct, jobs: dict[str, list[str]], asked: str, applied: int) -> None:
    page = sct.list(offset=asked, limit=0)
    assert page["offset"] == applied
    assert len(page["commands"]) == max(0, page["total"] - applied)


def test_unknown_parameters_are_ignored(sct: Sct, jobs: dict[str, list[str]]) -> None:
    assert sct.list(limit=1, colour="red")["limit"] == 1


def test_the_newest_comes_first_and_the_order_is_stable(sct: Sct, jobs: dict[str, list[str]]) -> None:
    page = sct.list(limit=0)
    order = [(job["created_at"], job["job_id"]) for job in page["commands"]]
    assert order == sorted(order, reverse=True)
    assert ids(sct.list(limit=0)) == ids(page)
    mine = [job_id for job_id in ids(page) if job_id in jobs["completed"]]
    assert mine == jobs["completed"][::-1]


def test_pages_miss_nothing_and_repeat_nothing(sct: Sct, jobs: dict[str, list[str]]) -> None:
    everything = sct.list(limit=0)
    paged: list[str] = []
    for offset in range(0, everything["total"], 4):
        page = sct.list(limit=4, offset=offset)
        assert page["total"] == everything["total"]
        paged += ids(page)
    assert paged == ids(everything)


def test_total_counts_what_the_filter_leaves(sct: Sct, jobs: dict[str, list[str]]) -> None:
    assert sct.list(status="completed", limit=1)["total"] == sct.list(status="completed", limit=0)["total"] >= 5


def test_since_takes_what_was_created_then_or_later(sct: Sct, jobs: dict[str, list[str]]) -> None:
    created = sct.job(jobs["completed"][2])["created_at"]
    page = sct.list(since=created, limit=0)
    assert ids(page)[-1] == jobs["completed"][2]
    assert page["total"] == len(page["commands"])
    later = (datetime.fromisoformat(created) + timedelta(microseconds=1)).isoformat()
    assert ids(sct.list(since=later, limit=0)) == ids(page)[:-1]


@pytest.mark.parametrize("word", ["yesterday", "2026-01-01", "1700000000", ""])
def test_a_since_that_is_no_time_is_ignored(sct: Sct, jobs: dict[str, list[str]], word: str) -> None:
    assert sct.list(since=word, limit=1)["total"] == sct.list(limit=1)["total"]


def test_the_list_has_no_outputs_and_otherwise_the_same_objects(sct: Sct, jobs: dict[str, list[str]]) -> None:
    listed = {job["job_id"]: job for job in sct.list(limit=0)["commands"]}
    for job_id in (job_id for each in jobs.values() for job_id in each):
        job = sct.job(job_id)
        assert listed[job_id] == {name: value for name, value in job.items() if name not in ("stdout", "stderr")}


def test_objects_have_the_documented_members_and_none_is_null_or_empty(sct: Sct, jobs: dict[str, list[str]]) -> None:
    for each in sct.list(limit=0)["commands"]:
        job = sct.job(each["job_id"])
        assert set(MEMBERS["required"]) <= set(job) <= {*MEMBERS["required"], *MEMBERS["optional"]}
        assert all(value not in ("", [], {}, None) for value in job.values()), job
        assert job["status"] in CONTRACT["statuses"]


def test_a_running_job_has_no_end(sct: Sct, jobs: dict[str, list[str]]) -> None:
    job = sct.job(jobs["running"][0])
    assert set(job) == {
        "job_id",
        "command",
        "args",
        "timeout",
        "priority",
        "status",
        "created_at",
        "started_at",
        "stdout",
    }


def test_jobs_of_other_apis_are_neither_listed_nor_found(sct: Sct, jobs: dict[str, list[str]]) -> None:
    reply = sct.http.post("/api/v2/commands", json={"argv": ["true"]})
    assert reply.status_code == 200, reply.text
    (native,) = [value for name, value in _strings(reply.json()) if name in ("jobId", "commandId", "job_id")][:1]
    assert native not in ids(sct.list(limit=0))
    assert sct.http.get(f"/api/v1/commands/{native}").json() == {
        "error": "Job not found",
        "message": f"Job with ID {native} not found",
    }
    assert sct.cancel(native).json() == {"error": "Cannot cancel job", "message": "job not found"}


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    for name, member in value.items():
        if isinstance(member, dict):
            yield from _strings(member)
        elif isinstance(member, str):
            yield name, member


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("x", "x"),
        ("a%20b", "a b"),
        ("a%2Fb", "a/b"),
        ("%C3%A4", "ä"),
        ("%00", "\0"),
        ("%2520", "%20"),
        ("00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"),
        ("a:b", "a:b"),
        ("x" * 2000, "x" * 2000),
    ],
)
def test_an_unknown_id_of_any_form_is_404(sct: Sct, path: str, shown: str) -> None:
    reply = sct.http.get(f"/api/v1/commands/{path}")
    assert reply.status_code == 404
    assert reply.json() == {"error": "Job not found", "message": f"Job with ID {shown} not found"}
