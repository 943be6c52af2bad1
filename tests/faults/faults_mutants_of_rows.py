"""Faults that are planted for the other tests which the guarantees name, so that each row is known to have one that
sees it broken.

None of them lets loose what a test could not end: a fork bomb has a limit here, if a wrong one.
"""

from __future__ import annotations

from faults_mutants import Change, Mutant


def _one(name: str, file: str, before: str, after: str, caught_by: str) -> Mutant:
    return Mutant(name, (Change(f"runner_service/{file}", before, after),), f"tests/{caught_by}")


KILLS = "worker/supervisor/test_supervisor_kill.py"
LIMITS = "worker/supervisor/test_supervisor_limits.py"
ORPHANS = "services/test_orphans.py"
CROWD = "faults/test_overload.py::test_thousands_of_parked_workers_come_back_after_a_crash"
BIG_LOG = "faults/test_big_log.py::test_a_big_log_grows_no_process_on_its_way"
OF_ROWS = (
    _one(
        "a machine that is cut off goes on for an hour",
        "worker/leases.py",
        "await self._executor.set_deadline(lease_end + shortest)",
        "await self._executor.set_deadline(lease_end + shortest + 3600)",
        "faults/test_cut_off.py::test_a_machine_that_is_cut_off_stops_its_jobs_before_another_gets_them[True]",
    ),
    _one(
        "an append stores what it has already again",
        "store/logs.py",
        "if piece.first_sequence < self.next_sequence:",
        "if False:",
        "store/test_store_logs.py",
    ),
    _one(
        "a registration is not noted with its effect",
        "store/worker_credentials.py",
        'answers.note(conn, mark, f"{runner.runner_id} {note}")',
        "pass",
        "faults/test_crash_calls.py -k queues.renew",
    ),
    _one(
        "what a row names is deleted for its age",
        "services/orphans.py",
        "if key not in owned:",
        "if True:",
        f"{ORPHANS}::test_what_nothing_names_goes_when_it_is_old",
    ),
    _one(
        "an upload may be named however late",
        "domain/blobs.py",
        "if made is not None and made + NAMED_SECONDS < now / 1e6:",
        "if False:",
        f"{ORPHANS}::test_an_upload_that_hung_for_days_is_refused_and_not_lost_later",
    ),
    _one(
        "a worker that comes back adopts nothing",
        "worker/executors/native.py",
        "return [_known_attempt(one) for one in known]",
        "return []",
        "faults/test_contained_kills.py -k it_alone",
    ),
    _one(
        "an end is told while a hidden process lives",
        "worker/supervisor/attempt.py",
        "if not alive and not self._main_lives:",
        "if not self._main_lives:",
        f"{KILLS}::test_a_cancel_leaves_no_process_whatever_they_did_to_hide",
    ),
    _one(
        "a kill is one of the step alone",
        "worker/supervisor/attempt.py",
        "self._tree.kill(self.attempt_id, alive, self._rounds)",
        "self._tree.signal(alive[:1] if self._main_lives else [], signal.SIGKILL)",
        f"{KILLS}::test_a_cancel_leaves_no_process_whatever_they_did_to_hide",
    ),
    _one(
        "nobody ends a container whose engine was killed",
        "worker/supervisor/container/box.py",
        "                os.kill(self.holder, signal.SIGKILL)",
        "                pass",
        "worker/executors/test_docker_deaths.py::test_no_container_outlives_its_attempt_where_it_outlives_its_engine",
    ),
    _one(
        "a job may have twice the processes it asked for",
        "worker/supervisor/cells.py",
        'return self._set("pids", "pids.max", str(count))',
        'return self._set("pids", "pids.max", str(2 * count))',
        f"{LIMITS}::test_a_fork_bomb_meets_its_limit_and_is_ended",
    ),
    _one(
        "nobody looks who was killed for memory",
        "worker/supervisor/cells.py",
        'return self._number("memory", self._layout.oom, b"oom_kill ")',
        "return 0",
        f"{LIMITS}::test_memory_over_the_limit_is_out_of_memory",
    ),
    _one(
        "jobs are offered to the OOM killer like the service",
        "worker/supervisor/linux.py",
        "os.write(fd, OOM_SCORE)",
        "pass",
        f"{LIMITS}::test_jobs_are_offered_to_the_oom_killer_before_the_service",
    ),
    _one(
        "an older worker with the same identity is served on",
        "store/dispatch.py",
        "if said.session_id < runner.session_id:",
        "if False:",
        "services/test_dispatch_service.py::test_an_older_worker_with_the_same_identity_is_refused",
    ),
    _one(
        "nobody waits at the limit of the spool",
        "worker/supervisor/attempt.py",
        "if self._owner.may_read() and not self.journal.stuck:",
        "if True:",
        f"{LIMITS}::test_at_the_spool_limit_a_job_may_choose_to_lose_its_middle",
    ),
    _one(
        "a full spool fails nobody",
        "worker/supervisor/attempt.py",
        'if self.plan.spool_policy == "FAIL":',
        "if False:",
        f"{LIMITS}::test_at_the_spool_limit_a_job_may_choose_to_fail",
    ),
    _one(
        "a full spool fails everybody",
        "worker/supervisor/attempt.py",
        'if self.plan.spool_policy == "FAIL":',
        "if True:",
        f"{LIMITS}::test_at_the_spool_limit_a_job_waits_and_loses_nothing",
    ),
    Mutant(
        "input that was not acknowledged is not said again",
        (
            Change(
                "clients/python/runner_client/exec.py",
                "for offset, record in list(self._given):",
                "for offset, record in list(self._given)[:0]:",
            ),
        ),
        "tests/e2e/test_interactive_kills.py::test_two_type_while_server_worker_and_clients_are_killed",
    ),
    _one(
        "nobody looks whether a request came before",
        "services/answers.py",
        "            if (known := await self._known(mark, asked.kind)) is not None:\n                return known\n"
        "            try:",
        "            try:",
        "access/test_repeats.py",
    ),
    _one(
        "a runner that is registered again is another one",
        "store/worker_credentials.py",
        'answers.note(conn, mark, f"{runner.runner_id} {note}")',
        "pass",
        "services/test_marks.py::test_a_registration_said_again_is_the_same_runner_with_the_same_credential",
    ),
    _one(
        "a registration has a new id each time",
        "worker/identity.py",
        "if request_id and where == target:",
        "if False:",
        "worker/test_worker_contact.py::test_a_registration_whose_answer_is_lost_is_said_again_as_the_same",
    ),
    _one(
        "each time that the old credential is shown another one follows it",
        "store/worker_credentials.py",
        "if newest.nonce and newest.expires_at - now > life // 2:",
        "if False:",
        "services/test_worker_credentials.py::test_as_long_as_the_old_one_is_shown_the_same_one_follows_it",
    ),
    _one(
        "the log of another runner's job may be written",
        "store/logs.py",
        "or row[11] != runner_id",
        "",
        "access/test_foreign_runners.py",
    ),
    _one(
        "leases are counted on the clock that can be set",
        "worker/worker.py",
        "monotonic: Callable[[], float] = time.monotonic,",
        "monotonic: Callable[[], float] = time.time,",
        "e2e/test_clocks.py",
    ),
    _one(
        "a machine is drained before its jobs have ended",
        "services/runners/control.py",
        "done = runner.hosted and not active",
        "done = True",
        "faults/test_drain.py::test_a_rolling_restart_under_load_fails_no_job",
    ),
    _one(
        "a full disk is an error like any other",
        "store/sqlite.py",
        'if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:',
        "if False:",
        "faults/test_overload.py::test_a_full_disk_of_the_server_refuses_new_jobs_and_loses_none",
    ),
    _one(
        "what a full disk does not take is dropped",
        "worker/supervisor/journal.py",
        "            except OSError:\n                return False\n",
        "            except OSError:\n                self._unwritten.clear()\n                return True\n",
        "faults/test_overload.py::test_a_full_disk_of_a_worker_makes_its_jobs_wait_and_loses_nothing",
    ),
    _one(
        "calls that wait for the server are dropped when they are many",
        "rpc/server.py",
        """    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
""",
        """    ("grpc.server.max_pending_requests", 10),
    ("grpc.server.max_pending_requests_hard_limit", 20),
""",
        CROWD,
    ),
    _one(
        "each call that is parked keeps a quarter of a MiB",
        "services/dispatch.py",
        "    superseded: bool = False",
        '    kept: bytes = field(default_factory=lambda: b"x" * (1 << 18))\n    superseded: bool = False',
        CROWD,
    ),
    _one(
        "the server keeps the log that it has stored",
        "services/logs/ingest.py",
        "            self._tails.push(attempt_id, chunk, status)",
        '            self.__dict__.setdefault("kept", []).append(chunk)\n'
        "            self._tails.push(attempt_id, chunk, status)",
        BIG_LOG,
    ),
    _one(
        "the worker keeps the log that it has sent",
        "worker/uplink.py",
        "        end = Mark(records[-1].sequence + 1, behind)",
        '        self.__dict__.setdefault("kept", []).append(records)\n'
        "        end = Mark(records[-1].sequence + 1, behind)",
        BIG_LOG,
    ),
    _one(
        "the supervisor keeps the log that it has written",
        "worker/supervisor/journal.py",
        "            self._unwritten.popleft()",
        '            globals().setdefault("kept", []).append(self._unwritten.popleft())',
        BIG_LOG,
    ),
)
