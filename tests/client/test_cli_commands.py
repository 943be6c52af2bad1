"""The commands around jobs, as processes: what they print, their exit codes, what they say when something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import grpc
import pytest
from command_line import CommandLine
from google.protobuf.duration_pb2 import Duration
from scripted_server import Log, ScriptedServer, exited, job_id

from runner.v1.job_pb2 import Argv, Attempt, Job, JobEvent, JobSpec, Limits, Step
from runner.v1.job_service_pb2 import CancelJobRequest, CreateJobRequest, RetryJobRequest
from runner.v1.outcome_pb2 import Outcome
from runner.v1.runner_pb2 import Runner
from runner_client.cli.cp import place_below
from runner_client.cli.report import CommandLineError

COMMAND = Job(spec=JobSpec(steps=[Step(argv=Argv(args=["echo", "a b"]))]))


async def test_ps_lists_active_jobs_with_the_id_first(server: ScriptedServer, runner: CommandLine) -> None:
    running, ended_one = server.add_job(COMMAND), server.add_job(COMMAND)
    server.finish(ended_one, exited(3))
    heads, row = (await runner("ps")).out.splitlines()
    assert heads.split() == ["JOB", "ID", "STATE", "RESULT", "ORIGIN", "AGE", "TIME", "COMMAND"]
    assert row.split()[:2] == [running, "running"]
    assert row.endswith("echo 'a b'")
    assert "\t" not in row
    rows = (await runner("ps", "--all")).out.splitlines()[1:]
    assert [line.split()[0] for line in rows] == [ended_one, running]
    assert "exit 3" in rows[0]


async def test_ps_takes_a_state_and_a_limit(server: ScriptedServer, runner: CommandLine) -> None:
    ids = [server.add_job(COMMAND) for _ in range(4)]
    for job in ids[:3]:
        server.finish(job, exited(1))
    ended = await runner("ps", "--state", "failed", "-n", "2", "--json")
    assert [job["jobId"] for job in json.loads(ended.out)] == [ids[2], ids[1]]
    wrong = await runner("ps", "--state", "done")
    assert wrong.code == 2 and "'done' is not one of" in wrong.err


async def test_ps_without_jobs_prints_the_heads_alone(runner: CommandLine) -> None:
    assert len((await runner("ps")).out.splitlines()) == 1
    assert (await runner("ps", "--json")).out == "[]\n"


async def test_ps_shows_nothing_that_a_terminal_obeys(server: ScriptedServer, runner: CommandLine) -> None:
    server.add_job(Job(spec=JobSpec(steps=[Step(script="\x1b[2Jx\nmore"), Step(script="b")])))
    assert (await runner("ps")).out.splitlines()[1].endswith("?[2Jx … (+1 steps)")


async def test_no_table_or_sentence_shows_what_a_terminal_obeys(server: ScriptedServer, runner: CommandLine) -> None:
    server.runners = [Runner(runner_id=job_id(1), name="\x1b[31mred\nsecond")]
    assert [line.split()[1] for line in (await runner("runners")).out.splitlines()[1:]] == ["?[31mred?second"]
    wanted = server.add_job(Job(spec=COMMAND.spec, tags={"a": "\x1b]0;title\x07"}))
    assert "?]0;title?" in (await runner("show", wanted)).out
    assert (await runner("wait", "\x1b[2J-no-job")).err.count("\x1b") == 0


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x"])
def test_no_name_of_a_file_leads_out_of_the_directory_it_is_copied_to(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandLineError, match="leads out of"):
        place_below(tmp_path, name)
    assert place_below(tmp_path, "a..b/c") == tmp_path / "a..b" / "c"


async def test_ps_watch_prints_moves(server: ScriptedServer, runner: CommandLine) -> None:
    server.events = [JobEvent(sequence=1, job_id=job_id(7), kind="created", state=Job.STATE_QUEUED)]
    process = await runner.start("ps", "--watch", "--json")
    assert process.stdout is not None
    line = json.loads(await process.stdout.readline())
    assert (line["event"]["jobId"], line["event"]["kind"]) == (job_id(7), "created")
    process.send_signal(signal.SIGINT)
    assert (await runner.end(process)).code == 130


async def test_ps_on_a_terminal_is_a_rich_table(server: ScriptedServer, runner: CommandLine) -> None:
    server.add_job(COMMAND)
    ours, theirs = os.openpty()
    process = await runner.start("ps", stdout=theirs, env={"TERM": "xterm-256color"})
    os.close(theirs)
    assert (await runner.end(process)).code == 0
    shown = os.read(ours, 65_536)
    os.close(ours)
    assert job_id(1).encode() in shown and b"\x1b[36mrunning" in shown


@pytest.mark.parametrize(
    ("columns", "heads"),
    [
        (200, ["JOB ID", "STATE", "RESULT", "ORIGIN", "AGE", "TIME", "COMMAND"]),
        (80, ["JOB ID", "STATE", "RESULT", "ORIGIN", "COMMAND"]),
        (50, ["JOB ID", "COMMAND"]),
    ],
)
async def test_a_narrow_terminal_shows_fewer_columns_and_ids_whole(
    server: ScriptedServer, runner: CommandLine, columns: int, heads: list[str]
) -> None:
    server.add_job(Job(spec=JobSpec(steps=[Step(script="x" * 300)]), state=Job.STATE_RUNNING))
    ours, theirs = os.openpty()
    process = await runner.start("ps", stdout=theirs, env={"TERM": "xterm", "COLUMNS": str(columns)})
    os.close(theirs)
    assert (await runner.end(process)).code == 0
    head, line = re.sub(r"\x1b\[[0-9;]*m", "", os.read(ours, 65_536).decode()).splitlines()
    os.close(ours)
    assert re.split(r"\s{2,}", head.strip()) == heads
    assert line.startswith(job_id(1)) and line.rstrip().endswith("xxx…")
    assert len(line) <= columns


async def test_show_tells_what_there_is(server: ScriptedServer, runner: CommandLine) -> None:
    job = server.add_job(COMMAND)
    server.jobs[job].spec.timeout.CopyFrom(Duration(seconds=90))
    server.jobs[job].waiting = "no runner has the label os=plan9"
    server.attempts = [
        Attempt(attempt_id="a", number=1, runner_id="r1", state=Attempt.STATE_FINISHED, outcome=exited(2))
    ]
    lines = dict(line.split("  ", 1) for line in (await runner("show", job)).out.splitlines())
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    assert facts["job"] == job
    assert facts["waits because"] == "no runner has the label os=plan9"
    assert facts["timeout"] == "1m30s"
    assert facts["step 1"] == "echo 'a b'"
    assert facts["attempt 1"] == "finished exit 2 on r1"
    shown = json.loads((await runner("--json", "show", job)).out)
    assert shown["jobId"] == job and shown["attemptList"][0]["runnerId"] == "r1"
    outcome = Outcome(kind=Outcome.KIND_TIMED_OUT, detail="kill", survivors=2, unenforced_limits=["cpus", "memory"])
    outcome.usage.cpu_time.FromMilliseconds(1500)
    outcome.step_codes.extend((0, 143, -1))
    outcome.usage.peak_memory_bytes = 3 << 19
    server.jobs[job].spec.limits.CopyFrom(Limits(cpus=1.5, memory_bytes=64 << 20))
    server.finish(job, outcome, Job.STATE_TIMED_OUT)
    out = (await runner("show", job)).out
    facts = dict(map(str.strip, line.split("  ", 1)) for line in out.splitlines())
    assert facts["because"] == "it left processes that cannot be ended"
    assert (facts["survivors"], facts["not enforced"]) == ("2", "cpus, memory")
    assert facts["steps ended"] == "0, 143, -"
    assert facts["used"] == "1.5s of processors, 1.5M of memory"
    assert facts["limits"] == "1.5 processors, 64M of memory"


async def test_logs_are_the_bytes_alone(server: ScriptedServer, runner: CommandLine) -> None:
    job = server.add_job()
    server.logs[job].append(stdout=b"\xff\x00", stderr=b"e")
    server.logs[job].append(stdout=b"o")
    ended = await runner("logs", job)
    assert (ended.code, ended.stdout, ended.stderr) == (0, b"\xff\x00o", b"e")
    assert (await runner("logs", job, "--stdout")).stderr == b""
    assert (await runner("logs", job, "--stderr")).stdout == b""
    assert (await runner("logs", "--cursor", "c1", job)).stdout == b"o"
    assert (await runner("logs", "--stdout", "--stderr", job)).code == 2


async def test_logs_follow_until_the_end(server: ScriptedServer, runner: CommandLine) -> None:
    job = server.add_job()
    process = await runner.start("logs", "-f", job)
    await server.following.wait()
    server.logs[job].append(stdout=b"live")
    assert process.stdout is not None
    assert await process.stdout.readexactly(4) == b"live"
    server.finish(job, exited(5))
    assert (await runner.end(process)).code == 0


async def test_interrupted_logs_leave_the_job_alone(server: ScriptedServer, runner: CommandLine) -> None:
    job = server.add_job()
    process = await runner.start("logs", "-f", job)
    await server.following.wait()
    process.send_signal(signal.SIGINT)
    ended = await runner.end(process)
    assert (ended.code, ended.err) == (130, "")
    assert not server.asked(CancelJobRequest)


async def test_wait_exits_as_the_first_job_that_failed(server: ScriptedServer, runner: CommandLine) -> None:
    jobs = [server.add_job() for _ in range(3)]
    process = await runner.start("wait", *jobs)
    await server.following.wait()
    for job, outcome in zip(jobs, [exited(0), exited(4), exited(5)], strict=True):
        server.finish(job, outcome)
    ended = await runner.end(process)
    assert ended.code == 4
    assert sorted(ended.out.splitlines()) == [
        f"{jobs[0]}  succeeded  exit 0",
        f"{jobs[1]}  failed  exit 4",
        f"{jobs[2]}  failed  exit 5",
    ]


async def test_wait_gives_up_when_told(server: ScriptedServer, runner: CommandLine) -> None:
    job = server.add_job()
    ended = await runner("wait", job, "--timeout", "50ms")
    assert ended.code == 125
    assert ended.err == f"runner: not ended yet: {job} — wait longer, or `runner cancel` them\n"


async def test_wait_for_a_job_that_is_not_there(server: ScriptedServer, runner: CommandLine) -> None:
    ended = await runner("wait", job_id(9))
    assert (ended.code, ended.err) == (125, f"runner: There is no job with the id {job_id(9)}.\n")


async def test_cancel_says_which_and_goes_on_after_an_error(server: ScriptedServer, runner: CommandLine) -> None:
    done, running = server.add_job(), server.add_job()
    server.finish(done, exited())
    ended = await runner("cancel", done, running, "--reason", "enough")
    assert (ended.code, ended.out) == (1, f"{running}\n")
    assert ended.err == f"runner: The job {done} has ended already.\n"
    assert server.asked(CancelJobRequest)[1].reason == "enough"


async def test_retry_prints_the_new_id_or_follows_it(server: ScriptedServer, runner: CommandLine) -> None:
    server.finish(server.add_job(COMMAND), exited(3))
    ended = await runner("retry", job_id(1))
    assert (ended.code, ended.out, ended.err) == (0, f"{job_id(2)}\n", "")
    assert server.asked(RetryJobRequest)[0].request_id

    def script(log: Log) -> None:
        log.append(stdout=b"again\n")
        server.finish(job_id(3), exited(4))

    server.on_run = script
    followed = await runner("retry", "-f", "--id", "once", job_id(1))
    assert (followed.code, followed.out, followed.err) == (4, "again\n", f"runner: job {job_id(3)}\n")
    assert server.asked(RetryJobRequest)[1].request_id == "once"
    assert f"retry of  {job_id(1)}" in (await runner("show", job_id(3))).out


async def test_an_end_of_an_id_is_enough(server: ScriptedServer, runner: CommandLine) -> None:
    jobs = [server.add_job() for _ in range(20)]
    for job in jobs[1:]:
        server.logs[job].append(stdout=job.encode())
    assert (await runner("logs", jobs[3][-12:])).out == jobs[3]
    many = await runner("logs", jobs[3][:12])
    assert many.code == 1 and "start or end of 20 job ids" in many.err
    assert "there is no job ffffff" in (await runner("logs", "ffffff")).err
    assert "too short" in (await runner("logs", "abc")).err


async def test_submit_prints_the_id_alone(server: ScriptedServer, runner: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("steps: [make]\ntags: {a: b}\n")
    ended = await runner("submit", str(tmp_path / "job.yaml"))
    assert (ended.code, ended.out, ended.err) == (0, f"{job_id(1)}\n", "")
    assert dict(server.asked(CreateJobRequest)[0].tags) == {"a": "b"}
    by_stdin = await runner("submit", "-", "--json", stdin=b'{"steps": ["make"]}')
    assert json.loads(by_stdin.out)["jobId"] == job_id(2)


async def test_submit_names_the_line_of_a_fault(runner: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("steps: [make]\ntimout: 5\n")
    ended = await runner("submit", str(file))
    assert ended.code == 2
    assert ended.err.startswith(f"runner: {file}:2: the key 'timout' is not known — known are steps,")
    assert "cannot read" in (await runner("submit", str(tmp_path / "none.yaml"))).err


async def test_submit_follow_streams_and_exits_as_the_job(
    server: ScriptedServer, runner: CommandLine, tmp_path: Path
) -> None:
    def script(log: Log) -> None:
        log.append(stdout=b"out")
        server.finish(job_id(1), Outcome(kind=Outcome.KIND_SIGNALED, signal=9))

    server.on_run = script
    (tmp_path / "job.yaml").write_text("steps: [make]\n")
    ended = await runner("submit", "--follow", str(tmp_path / "job.yaml"))
    assert (ended.code, ended.out, ended.err) == (137, "out", f"runner: job {job_id(1)}\n")


@pytest.mark.parametrize("flag", ["--follow", "--wait"])
async def test_interrupted_submit_leaves_the_job_running(
    server: ScriptedServer, runner: CommandLine, tmp_path: Path, flag: str
) -> None:
    (tmp_path / "job.yaml").write_text("steps: [make]\n")
    process = await runner.start("submit", flag, str(tmp_path / "job.yaml"))
    await server.following.wait()
    process.send_signal(signal.SIGINT)
    ended = await runner.end(process)
    assert ended.code == 130
    assert ended.err.endswith(f"runner: left; the job goes on — `runner logs -f {job_id(1)}`\n")
    assert not server.asked(CancelJobRequest)


async def test_runners_are_listed(server: ScriptedServer, runner: CommandLine) -> None:
    server.runners = [
        Runner(runner_id="r1", name="one", state=Runner.STATE_ACTIVE, online=True, slots=4, labels={"os": "linux"}),
        Runner(runner_id="r2", name="two", state=Runner.STATE_ACTIVE),
    ]
    lines = [line.split() for line in (await runner("runners")).out.splitlines()]
    assert lines[1:] == [["r1", "one", "active", "4", "-", "os=linux"], ["r2", "two", "offline", "0", "-", "-"]]
    assert [item["name"] for item in json.loads((await runner("runners", "--json")).out)] == ["one", "two"]


async def test_option_behind_the_command_wins(server: ScriptedServer, runner: CommandLine) -> None:
    before = await runner("--server", server.target, "--token", "a", "ps", env={"RUNNER_SERVER": "nowhere:1"})
    assert before.code == 0
    await runner("--token", "a", "ps", "--token", "b")
    await runner("ps", env={"RUNNER_TOKEN": "c"})
    assert [metadata["authorization"] for _, metadata in server.calls] == ["Bearer a", "Bearer b", "Bearer c"]


async def test_credential_is_asked_for(server: ScriptedServer, runner: CommandLine) -> None:
    server.failures.append((grpc.StatusCode.UNAUTHENTICATED, "This call needs a credential.", []))
    ended = await runner("ps")
    assert ended.code == 1
    assert ended.err == "runner: This call needs a credential — pass a key with --token or RUNNER_TOKEN\n"


@pytest.mark.parametrize("target", ["http://lab", "lab:99999"])
async def test_wrong_address_is_a_sentence(runner: CommandLine, target: str) -> None:
    ended = await runner("--server", target, "ps")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith(f"runner: '{target}' ")


async def test_reader_of_a_table_may_leave(server: ScriptedServer, runner: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await runner.start("ps", stdout=writing)
    os.close(writing)
    ended = await runner.end(process)
    assert (ended.code, ended.err) == (141, "")


async def test_closed_stdout_is_never_a_socket(server: ScriptedServer, runner: CommandLine) -> None:
    server.add_job(COMMAND)
    program = "import sys; from runner_client.cli import main; sys.exit(main())"
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'exec "$0" -c "$1" ps --server "$2" <&- >&- 2>&-'),
        *(sys.executable, program, server.target),
    )
    async with asyncio.timeout(60):
        assert await process.wait() == 0
