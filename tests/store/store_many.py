"""Tables as full as the design wants them, filled by PostgreSQL itself; its plans depend on what there is."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import BigInteger, Double, LargeBinary, SmallInteger, Table

from runner_service.store.schema import (
    attempts,
    jobs,
    runner_events,
    runner_feed,
    runner_profiles,
    runner_samples,
    runner_tags,
    runners,
)

RUNNERS = 10_000
ONE = f"{5_000:036d}"
"""The id of a runner that has jobs, a feed and a month of metrics."""
A_JOB = f"job-{1_000:032d}"
_ID = "lpad(({})::text, 36, '0')"
_JOB = "'job-' || lpad(({})::text, 32, '0')"
_NUMBERS = (BigInteger, SmallInteger, Double)


def _fill(table: Table, count: int, **values: str) -> str:
    """``count`` rows numbered by ``i``; columns that are not named are empty."""
    columns = [column for column in table.columns if column.autoincrement is not True]
    given = [
        values.get(column.name)
        or ("NULL" if column.nullable else "0" if isinstance(column.type, _NUMBERS) else _empty(column.type))
        for column in columns
    ]
    names = ", ".join(f'"{column.name}"' for column in columns)
    return f"INSERT INTO {table.name} ({names}) SELECT {', '.join(given)} FROM generate_series(0, {count - 1}) AS i"


def _empty(type: object) -> str:
    return r"'\x00'" if isinstance(type, LargeBinary) else "''"


def statements() -> Iterator[str]:
    state = "CASE WHEN i % 10 = 0 THEN 'INACTIVE' WHEN i % 997 = 1 THEN 'STARTING' ELSE 'ACTIVE' END"
    kind = "(ARRAY['DOCKER', 'KUBERNETES', 'NATIVE', 'LOCAL'])[i % 4 + 1]"
    yield _fill(
        runners, RUNNERS, runner_id=_ID.format("i"), name="'n' || i", registered_at="i", state=state, kind=kind,
        local="(i = 7)::int",
    )  # fmt: skip
    yield _fill(runner_profiles, RUNNERS, runner_id=_ID.format("i"))
    tagged = {"runner_id": _ID.format("i / 3"), "registered_at": "i / 3"}
    use = "CASE WHEN i / 3 % 2 = 0 THEN 'production' ELSE 'staging' END"
    tag = f"(ARRAY['rack' || (i / 3 % 100), 'x86', {use}])[i % 3 + 1]"
    yield _fill(runner_tags, 3 * RUNNERS, tag=tag, **tagged)
    ended = "CASE WHEN i % 20 < 2 THEN NULL ELSE i END"
    of_job = (
        "(ARRAY['QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED'])[CASE WHEN i % 20 < 2 THEN i % 20 + 1 ELSE i % 2 + 3 END]"
    )
    owner = _ID.format("4500 + i % 1000")
    yield _fill(
        jobs, 30_000, job_id=_JOB.format("i"), state=of_job, created_at="i", started_at=ended, finished_at=ended,
        bound_to=f"CASE WHEN i % 3 = 0 THEN '' ELSE {owner} END", runner_id=owner, origin="'rustci'",
    )  # fmt: skip
    yield _fill(
        attempts, 30_000, attempt_id=_ID.format("i"), job_id=_JOB.format("i"), runner_id=owner,
        state="CASE WHEN i % 20 = 1 THEN 'RUNNING' ELSE 'FINISHED' END",
        bound_to=f"CASE WHEN i % 3 = 0 THEN '' ELSE {owner} END",
    )  # fmt: skip
    yield _fill(runner_events, 20_000, runner_id=_ID.format("i % 10000"), kind="'state'", at="i")
    yield _fill(
        runner_feed, 30_000, runner_id=_ID.format("4995 + i % 10"), first="1 + i", first_at="i", last_at="i + 1",
        info="1", error="(i % 50 = 0)::int", job_id=_JOB.format("(i / 3) / 10 * 10 + i % 10"),
    )  # fmt: skip
    yield _fill(
        runner_samples, 40_000, runner_id=_ID.format("4995 + i % 10"),
        width="(ARRAY[60, 300, 3600])[i / 10 % 3 + 1]", start="i / 30 * 60",
    )  # fmt: skip
    yield "ANALYZE"
