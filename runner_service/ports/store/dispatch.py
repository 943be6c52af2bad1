"""Claims, leases and reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runner_service.domain.dispatch import Along, Assignment, Beat, BeatAnswer, Report, Reported, Want


class DispatchStore(Protocol):
    """Claims, leases and reports: DESIGN.md §5 as transactions."""

    async def beat(self, beat: Beat) -> BeatAnswer:
        """One Sync of a worker: takes over the identity for ``beat.session_id``, renews the lease, confirms each listed
        attempt that is ASSIGNED to this runner (ASSIGNED → RUNNING, job and attempt, ``attempts`` + 1), and returns
        one order for every attempt that is listed or that the runner should have:

        * OFFER: ASSIGNED and not listed, to be listed in the next Sync before anything is started (with ``slots`` 0 it
          goes back to the queue instead, at no cost);
        * RUN: confirmed, may be started if it is not;
        * CANCEL: confirmed, and a cancel is accepted: end it and report;
        * FORGET: listed, but finished, unknown or of another fence or runner: end it and delete it.

        With ``changes_only`` there is no order for what does as it should: listed, past HELD, and ENDING or ENDED if a
        cancel is accepted. With ``claims``, when some order is news to the worker, jobs are claimed for its free slots
        in the same transaction, and their OFFERs come along.

        A RUNNING attempt that is not listed is known to be gone, because the list is complete as of the first beat with
        this ``sync_number`` (one that repeats it passes over what was confirmed since, see `report`): it ends LOST with
        detail ``runner_forgot``, or ``machine_rebooted`` when the boot id is not the one of the beat before, by the
        same path as a report (so a job may be retried). But with the first beat of a session that has the boot id and
        the spool id of the session before, it is known never to have started: it goes back to the queue at no cost, as
        if it had never been assigned. So does one that a report brought to be started, when the first list after its
        answer (``reports_heard``) does not show it.

        Raises:
            RunnerNotFound: No such runner: register again.
            StaleWorker: A later session (ids sort by start) holds the identity.
            StaleSync: A beat of this session with a higher ``sync_number`` was taken before.
        """
        ...

    async def claim(self, wants: Sequence[Want]) -> Sequence[Assignment]:
        """Assigns queued jobs to runners, in one transaction: for each want up to ``count`` jobs whose required labels
        its labels satisfy and whose ``not_before`` has passed, by priority, then age. A job goes to one want only; with
        several servers no two get the same job, and none waits for another. Stamps, moves (QUEUED → ASSIGNED, ``fence``
        + 1, a new attempt) and records them."""
        ...

    async def release_unconfirmed(self, *, older_than_seconds: float) -> Sequence[str]:
        """Returns jobs that were ASSIGNED longer ago and never confirmed to the queue, at no cost: their attempts are
        gone and not counted. Returns the job ids."""
        ...

    async def report(self, reports: Sequence[Report], *, along: Along | None = None) -> Reported:
        """Ends attempts, each independently but in one transaction; one verdict per report, in order.

        Appends ``report.journal`` to the log first and seals it with ``report.seal`` if given. Then the attempt is
        FINISHED and its job moves to what `final_outcome` and `may_retry` say, or back to QUEUED with ``not_before``.
        Idempotent by (attempt, fence): repeated, the verdict is ACCEPTED again and nothing changes.

        With ``along``, in the same transaction: what it holds is confirmed as a beat would, if the runner's session is
        that of ``along`` and its Sync of that number was taken; and jobs are claimed for the runner, at most as many as
        it then has free slots by the store's own count, in which every attempt holds one until it is reported. If
        ``along`` has a number they are confirmed too: START, in this answer and never again.

        Verdicts: ACCEPTED; STALE (unknown attempt, other fence or runner, or ended by somebody else as LOST);
        LOG_MISSING (the log is not complete up to the seal: ship the rest and report again), in which case nothing of
        this report has changed.
        """
        ...

    async def expire_leases(self, *, kill_budget_seconds: float) -> Sequence[str]:
        """Ends RUNNING attempts whose runner has been away too long, by the job's loss policy: RETRY at lease end +
        kill budget, WAIT at lease end + ``loss_wait_seconds`` + kill budget, FAIL at lease end + kill budget. A job
        with an accepted cancel ends CANCELLED at lease end + kill budget. Logs are sealed incomplete. Returns the ids
        of the jobs that moved."""
        ...

    async def expire_queued(self) -> Sequence[str]:
        """Ends QUEUED jobs whose ``queue_deadline`` has come: TIMED_OUT, detail ``queue``. Returns their ids."""
        ...

    async def renew_leases(self, *, lease_seconds: float) -> None:
        """Gives every runner that has had a lease a full one from now: a server that was away itself blames nobody. Not
        to one that was missed before (ERROR), unless it still holds an attempt."""
        ...
