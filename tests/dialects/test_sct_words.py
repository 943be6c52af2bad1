"""SCT's words for our facts: total, and exact."""

from __future__ import annotations

import itertools

import pytest

from runner.dialects.sct.v1 import command_service_pb2
from runner.gateway.v1 import options_pb2
from runner_service.dialects.sct import words
from runner_service.domain.jobs import Cancel, Job, JobKind, JobSpec, JobState, Step
from runner_service.domain.outcomes import Outcome, OutcomeKind

SPEC = JobSpec(steps=(Step(argv=("true",)),))
ENDED = [state for state in JobState if state.terminal]


def job(state: JobState, outcome: Outcome | None = None, cancel: Cancel | None = None) -> Job:
    return Job(job_id="x", kind=JobKind.COMMAND, spec=SPEC, state=state, created_at=0, outcome=outcome, cancel=cancel)


def test_every_state_has_a_word_of_the_five() -> None:
    assert set(words.STATUS) == set(JobState)
    assert set(words.STATUS.values()) == {"queued", "running", "completed", "failed", "cancelled"}


@pytest.mark.parametrize("state", [state for state in JobState if not state.terminal])
def test_an_accepted_cancel_shows_whatever_still_runs(state: JobState) -> None:
    assert words.status(job(state, cancel=Cancel(at=5))) == "cancelled"


def test_the_refusal_of_a_cancel_knows_every_final_state() -> None:
    service = command_service_pb2.DESCRIPTOR.services_by_name["CommandService"]
    rules = service.methods_by_name["CancelCommand"].GetOptions().Extensions[options_pb2.method].errors
    (rule,) = [rule for rule in rules if "JOB_FINISHED" in rule.reasons]
    assert dict(rule.words) == {state.value: words.STATUS[state] for state in ENDED}


@pytest.mark.parametrize("word", sorted(set(words.STATUS.values())))
def test_a_filter_takes_the_states_that_its_word_stands_for(word: str) -> None:
    filter = words.filter_for(word)
    assert filter is not None and filter.origin == words.ORIGIN
    if word == "cancelled":
        assert filter.cancelling is True
    else:
        assert filter.states == {state for state in JobState if words.STATUS[state] == word}


ENDINGS = {
    OutcomeKind.EXITED: (Outcome(kind=OutcomeKind.EXITED, exit_code=7), 7, "exit status 7", ""),
    OutcomeKind.SIGNALED: (Outcome(kind=OutcomeKind.SIGNALED, signal=9), -1, "signal: killed", ""),
    OutcomeKind.TIMED_OUT: (
        Outcome(kind=OutcomeKind.TIMED_OUT, detail="run"),
        -1,
        "command timed out",
        "Command execution timed out",
    ),
    OutcomeKind.OUT_OF_MEMORY: (Outcome(kind=OutcomeKind.OUT_OF_MEMORY), -1, "signal: killed (out of memory)", ""),
    OutcomeKind.OUT_OF_DISK: (
        Outcome(kind=OutcomeKind.OUT_OF_DISK, message="it had more than 5 bytes on disk"),
        -1,
        "signal: killed (it had more than 5 bytes on disk)",
        "",
    ),
    OutcomeKind.REFUSED: (
        Outcome(kind=OutcomeKind.REFUSED, message='exec: "x": executable file not found in $PATH'),
        -1,
        'failed to start command: exec: "x": executable file not found in $PATH',
        "",
    ),
    OutcomeKind.LOST: (
        Outcome(kind=OutcomeKind.LOST, message="its machine is gone"),
        -1,
        "command was lost with its runner: its machine is gone",
        "",
    ),
    OutcomeKind.INFRASTRUCTURE: (
        Outcome(kind=OutcomeKind.INFRASTRUCTURE, detail="start", message="no room for a process"),
        -1,
        "the runner failed: no room for a process",
        "",
    ),
    OutcomeKind.CANCELLED: (
        Outcome(kind=OutcomeKind.CANCELLED, detail="user"),
        None,
        "command cancelled",
        "Command execution cancelled",
    ),
}


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_ending_has_its_exit_code_error_and_stderr(kind: OutcomeKind) -> None:
    outcome, exit_code, error, stderr = ENDINGS[kind]
    cancelled = kind is OutcomeKind.CANCELLED
    ended = job(JobState.CANCELLED if cancelled else JobState.FAILED, outcome, Cancel(at=1) if cancelled else None)
    assert (words.exit_code(ended), words.error(ended), words.stderr_instead(ended)) == (exit_code, error, stderr)


def test_success_has_exit_code_0_and_no_error() -> None:
    ended = job(JobState.SUCCEEDED, Outcome(kind=OutcomeKind.EXITED, exit_code=0))
    assert (words.exit_code(ended), words.error(ended), words.stderr_instead(ended)) == (0, "", "")


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.ASSIGNED, JobState.RUNNING])
def test_what_has_not_ended_has_neither_exit_code_nor_error(state: JobState) -> None:
    assert (words.exit_code(job(state)), words.error(job(state)), words.ended_at(job(state))) == (None, "", None)


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "hangup"), (2, "interrupt"), (6, "aborted"), (9, "killed"), (11, "segmentation fault"), (15, "terminated")],
)
def test_signals_have_the_names_that_go_gives_them(number: int, name: str) -> None:
    outcome = Outcome(kind=OutcomeKind.SIGNALED, signal=number)
    assert words.error(job(JobState.FAILED, outcome)) == f"signal: {name}"


@pytest.mark.parametrize(
    ("asked", "limit", "offset"),
    [
        ("", 50, 0),
        ("0", 0, 0),
        ("1", 1, 1),
        ("500", 500, 500),
        ("501", 500, 501),
        ("99999999999", 500, 99999999999),
        ("-1", 50, 0),
        ("x", 50, 0),
        ("1.5", 50, 0),
        ("１", 50, 0),
        (" 1", 50, 0),
        ("9" * 400, 50, 0),
    ],
)
def test_paging_words(asked: str, limit: int, offset: int) -> None:
    assert (words.limit(asked), words.offset(asked)) == (limit, offset)


@pytest.mark.parametrize(
    ("asked", "micros"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00-00:30", 1_800_000_000),
        ("1970-01-01t00:00:00.5z", 500_000),
        ("2026-11-20T18:42:26.768047Z", 1795200146768047),
        ("1970-01-01T00:00:00.1234560Z", 123456),
        ("1970-01-01T00:00:00.1234561Z", 123457),
        ("9999-12-31T23:59:59.999999Z", 253402300799999999),
        ("0001-01-01T00:00:00+23:59", -62135596800000000 - 86340000000),
        ("", None),
        ("yesterday", None),
        ("1795200146", None),
        ("2026-11-20", None),
        ("20261120T184226Z", None),
        ("2026-11-20T18:42:26", None),
        ("2026-11-20 18:42:26Z", None),
        ("2026-13-20T18:42:26Z", None),
        ("2026-11-20T18:42:26+99:00", None),
        ("2026-11-20T18:42:26.Z", None),
    ],
)
def test_since_is_exact_to_the_microsecond(asked: str, micros: int | None) -> None:
    assert words.since(asked) == micros


@pytest.mark.parametrize(
    ("asked", "seconds"), [(0, None), (5, 5), (-1, -1), (2**63 - 1, 31622400), (-(2**63), -31622400)]
)
def test_any_timeout_is_taken(asked: int, seconds: float | None) -> None:
    assert words.timeout(asked) == seconds


def test_a_character_cut_by_the_end_waits_for_its_rest() -> None:
    whole = "ä€😀".encode()
    shown = [words.text(whole[:size], complete=False) for size in range(len(whole) + 1)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    assert shown[-1] == "ä€😀"
    assert words.text(whole[:1], complete=True) == "\N{REPLACEMENT CHARACTER}"
    assert words.text(b"a\xffb", complete=False) == "a\N{REPLACEMENT CHARACTER}b"
