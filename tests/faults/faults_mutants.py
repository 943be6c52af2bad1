"""Faults that are planted, one at a time, in a copy of the service: the suite must catch each of them.

Most were thought of as mistakes that somebody may make one day. One was made, and was in the product through a thousand
schedules: "what had begun when its supervisor died is started again".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("runner_service", "gateway", "runner", "clients/python/runner_client")

MODEL = "tests/faults/test_dispatch_model.py::test_the_model_holds_on_sqlite"
SUPERVISORS = "tests/faults/test_crash_points.py -k test_a_supervisor_that_crashes_anywhere"
STARTS = "tests/worker/test_starts.py"
"""Directed: kills of real supervisors meet the interleaving only now and then."""
AGAIN = "tests/store/test_store_exchanges.py::test_a_sync_that_looks_again_passes_over_what_was_confirmed_since"
"""Directed, too: of the model's ways a few in a thousand go there."""
CONFIRMED = "tests/store/test_store_exchanges.py::test_nothing_is_confirmed_before_the_last_sync_was_taken"
COMMITS = "tests/faults/test_crash_points.py::test_a_commit_that_is_cut_off_has_happened_whole_or_not_at_all"
SCHEDULES = "tests/faults/test_schedules.py::test_schedules_lose_nothing_and_run_nothing_twice"


class Change(NamedTuple):
    """In one file, one place."""

    file: str
    before: str
    after: str


class Mutant(NamedTuple):
    """A planted fault."""

    name: str
    changes: tuple[Change, ...]
    caught_by: str = MODEL
    """What pytest is to run."""

    @property
    def catches(self) -> str:
        """The test that is to catch it, or the file of it."""
        place, *words = self.caught_by.partition("[")[0].split()
        return f"{place}::{words[1]}" if words and words[1].startswith("test_") else place


def _one(name: str, file: str, before: str, after: str, caught_by: str = MODEL) -> Mutant:
    return Mutant(name, (Change(f"runner_service/{file}", before, after),), caught_by)


MUTANTS = (
    # Fences and reports.
    _one(
        "the fence of a report is not checked",
        "store/reports.py",
        "or execution.attempt.fence != one.fence",
        "or False",
    ),
    _one(
        "the runner of a report is not checked",
        "store/reports.py",
        "or execution.attempt.runner_id != one.runner_id",
        "or False",
    ),
    _one(
        "a report of what was given up is taken",
        "store/reports.py",
        "or (execution.attempt.state is AttemptState.FINISHED and not execution.reported)",
        "or False",
    ),
    _one(
        "a report that comes twice ends the job twice",
        "store/reports.py",
        "elif execution.attempt.state is AttemptState.FINISHED:",
        "elif False:",
    ),
    # Who is heard.
    _one("a Sync that is late is heard", "store/dispatch.py", "if said.sync_number < taken:", "if False:"),
    _one(
        "of two workers with one identity both are heard",
        "store/dispatch.py",
        "if said.session_id < runner.session_id:",
        "if False:",
    ),
    _one(
        "what an earlier worker sends along with a report is heard",
        "store/exchanges.py",
        "call.along.session_id == current[call.along.runner_id][0]",
        "True",
    ),
    _one(
        "a list is judged twice",
        "store/dispatch.py",
        "judges = new_session or said.sync_number > taken",
        "judges = new_session or said.sync_number >= taken",
        AGAIN,
    ),
    _one(
        "a confirmation overtakes the Sync before it",
        "store/exchanges.py",
        "if call.along.sync_number <= current[call.along.runner_id][1]:",
        "if True:",
        CONFIRMED,
    ),
    # Claims.
    _one(
        "a claim is confirmed, and not counted",
        "store/ledger.py",
        "JobState.RUNNING, at=self.now, attempts=job.attempts + 1)",
        "JobState.RUNNING, at=self.now, attempts=job.attempts)",
    ),
    _one(
        "what was started is taken back when the machine has forgotten it",
        "store/dispatch.py",
        "elif (same_spool if new_session else attempt.attempt_id in came) and job.cancel is None:",
        "elif (new_session or attempt.attempt_id in came) and job.cancel is None:",
    ),
    _one(
        "what was cancelled is taken back to the queue",
        "store/dispatch.py",
        "elif (same_spool if new_session else attempt.attempt_id in came) and job.cancel is None:",
        "elif same_spool if new_session else attempt.attempt_id in came:",
    ),
    _one(
        "what an answer that is under way has started is taken back",
        "store/dispatch.py",
        "judges and (new_session or row[5] <= said.reports_heard)",
        "judges",
    ),
    _one(
        "a claim that is not confirmed stays where it is",
        "store/dispatch.py",
        'attempts.c.state == word("ASSIGNED"), attempts.c.assigned_at < integer("before")',
        'attempts.c.state == word("ASSIGNED"), attempts.c.assigned_at < number(0), integer("before") > number(0)',
    ),
    _one(
        "a job that is to wait before it is tried again does not",
        "store/claims.py",
        'jobs.c.requirement == integer("requirement"), jobs.c.not_before <= integer("now"))',
        'jobs.c.requirement == integer("requirement"), integer("now") > number(0))',
    ),
    # Leases.
    _one(
        "a lease does not run out",
        "store/dispatch.py",
        '        <= integer("now"),\n    )\n    .with_for_update(of=[jobs, attempts, runners_table]',
        '        <= integer("now") - number(2**60),\n    )\n    .with_for_update(of=[jobs, attempts, runners_table]',
    ),
    _one(
        "a lease runs out without the kill budget",
        "store/dispatch.py",
        '+ integer("kill_budget_us")',
        '+ integer("kill_budget_us") * number(0)',
    ),
    _one(
        "a lease runs out without the wait that the job asks for",
        "store/dispatch.py",
        "else_=jobs.c.loss_wait_us)",
        "else_=number(0))",
    ),
    _one(
        "a server that was away does not renew the leases",
        "store/dispatch.py",
        '{"lease_until": lease_until, "floor": lease_until}',
        '{"lease_until": lease_until, "floor": 0}',
    ),
    _one(
        "a job waits in the queue for longer than it may",
        "store/dispatch.py",
        'jobs.c.queue_deadline <= integer("now"),',
        'jobs.c.queue_deadline <= integer("now") - number(2**60),',
    ),
    # Cancels.
    _one(
        "the cancel of a queued job is noted, and ignored",
        "store/jobs.py",
        "if job.state is JobState.RUNNING:",
        "if job.state in (JobState.RUNNING, JobState.QUEUED):",
    ),
    _one(
        "a cancelled job is retried",
        "domain/jobs/moves.py",
        "if job.cancel is not None or outcome.succeeded",
        "if outcome.succeeded",
    ),
    _one(
        "a cancelled job ends as its process did",
        "domain/jobs/moves.py",
        "if job.cancel is None or outcome.kind is OutcomeKind.CANCELLED:",
        "if True:",
    ),
    _one(
        "a worker is not told of a cancel",
        "store/dispatch.py",
        "return one.phase in (Phase.ENDING, Phase.ENDED) if cancelled else one.phase is not Phase.HELD",
        "return one.phase is not Phase.HELD",
    ),
    _one(
        "what was cancelled is ordered to run",
        "store/dispatch.py",
        "action = Action.RUN if job.cancel is None else Action.CANCEL",
        "action = Action.RUN",
    ),
    # Logs.
    _one(
        "an append cuts what it has already off by one",
        "store/logs.py",
        "piece = journal.behind(piece, self.next_sequence)",
        "piece = journal.behind(piece, self.next_sequence + 1)",
    ),
    _one(
        "an append takes what it has already again",
        "store/logs.py",
        "if piece.first_sequence < self.next_sequence:",
        "if False:",
    ),
    _one(
        "an append takes what comes after a gap",
        "store/logs.py",
        "if piece.first_sequence > self.next_sequence:",
        "if False:",
    ),
    _one(
        "a seal closes a log before its last append",
        "store/logs.py",
        "seal[:3] == (self.next_sequence, self.stdout_bytes, self.stderr_bytes)",
        "True",
    ),
    _one("the fence of an append is not checked", "store/logs.py", "or row[7] != fence", ""),
    _one(
        "an append to what has ended is taken",
        "store/logs.py",
        "or row[8] == AttemptState.FINISHED.value",
        "",
    ),
    _one("the runner of an append is not checked", "store/logs.py", "or row[11] != runner_id", ""),
    _one(
        "a retry has one attempt too many",
        "domain/jobs/moves.py",
        "or job.attempts >= job.spec.max_attempts:",
        "or job.attempts > job.spec.max_attempts:",
    ),
    # What needs processes.
    Mutant(
        "what had begun when its supervisor died is started again",
        (
            Change("runner_service/worker/starts.py", "if held.phase is Phase.ENDED:", "if False:"),
            Change("runner_service/worker/executors/native.py", "if attempt_id in self._over:", "if False:"),
        ),
        STARTS,
    ),
    _one(
        "an end is told while processes live",
        "worker/supervisor/attempt.py",
        "if not alive and not self._main_lives:",
        "if not self._main_lives:",
        SCHEDULES,
    ),
    _one(
        "a reader that comes back is shown a record again",
        "services/logs/follow.py",
        "cursor=write_cursor(LogPosition(attempt_id, sequence))",
        "cursor=write_cursor(LogPosition(attempt_id, max(0, sequence - 1)))",
        SCHEDULES,
    ),
    Mutant(
        "a client that comes back begins anew",
        (
            Change(
                "clients/python/runner_client/client.py",
                "request.cursor = message.cursor or request.cursor",
                "pass",
            ),
        ),
        SCHEDULES,
    ),
    _one(
        "a request that comes twice makes two jobs",
        "store/jobs.py",
        "earlier = known.get(key) or _find_request(conn, key)",
        "earlier, job = None, replace(job, request_id='')",
        SCHEDULES,
    ),
    Mutant(
        "a supervisor that dies leaves its jobs behind",
        (
            Change(
                "runner_service/worker/supervisor/guard.py",
                "    end_all(places)\n    remove_more()",
                "    remove_more()",
            ),
            Change("runner_service/worker/supervisor/__main__.py", 'if before.get("places") and', "if False and"),
            Change(
                "runner_service/worker/supervisor/__main__.py", "recover(guard.end_marked)", "recover(lambda _: None)"
            ),
        ),
        SUPERVISORS,
    ),
    _one(
        "a cut-off commit is acknowledged",
        "store/sqlite.py",
        'driver.execute("COMMIT")\n    for unit',
        'driver.execute("SELECT 1")\n    for unit',
        COMMITS,
    ),
    _one(
        "rows go before the archive is named",
        "store/sql/logs.py",
        "await self._engine.write(logs.archive, attempt_id, archive)\n        await self._drop_rows(attempt_id)",
        "await self._drop_rows(attempt_id)\n        await self._engine.write(logs.archive, attempt_id, archive)",
        COMMITS,
    ),
)


def plant(mutant: Mutant, place: Path) -> dict[str, str]:
    """Makes a copy of the packages with the fault; returns the environment in which they are imported.

    Only what lies on the way to a changed file is copied; the rest are links.
    """
    for package in PACKAGES:
        _link(ROOT / package, place / package)
    texts = {file: (ROOT / file).read_text() for file, _, _ in mutant.changes}
    for file, before, after in mutant.changes:
        assert texts[file].count(before) == 1, f"{mutant.name}: {file} has {texts[file].count(before)} places like that"
        texts[file] = texts[file].replace(before, after)
    for file, text in texts.items():
        _own(place, Path(file)).write_text(text)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("FAULT_")},
        "PYTHONPATH": f"{place}{os.pathsep}{place / 'clients/python'}",
        "PYTHONSAFEPATH": "1",
    }


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def _own(place: Path, file: Path) -> Path:
    """Makes every directory down to ``file`` one of our own, and ``file`` no link."""
    here = place
    for part in file.parts[:-1]:
        here /= part
        if here.is_symlink():
            source = here.resolve()
            here.unlink()
            here.mkdir()
            for entry in source.iterdir():
                if entry.name != "__pycache__":
                    _link(entry, here / entry.name)
    (here / file.name).unlink(missing_ok=True)
    return here / file.name
