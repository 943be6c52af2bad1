"""What the docker executor adds to the contract: what runs in the container, as on the machine."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from docker_engine import IMAGE, Dockerd
from docker_house import Docker, running
from executor_contract import PATIENCE

from runner_service.domain import inputs
from runner_service.domain.containers import Container, PullPolicy
from runner_service.domain.jobs import Limits, Stdin, Step
from runner_service.domain.logs import LogStream
from runner_service.domain.outcomes import OutcomeKind
from runner_service.worker.executors.base import InputWritten, KillCause, OutputGrew, Started

sys.path.insert(0, str(Path(__file__).parents[2] / "registries"))

from docker_registry import docker_registry

pytestmark = pytest.mark.slow

SECRET = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
"""bcrypt of ``secret``."""


async def test_a_step_finds_the_image_its_own_variables_and_the_workspace(docker: Docker) -> None:
    staged = await docker.made.prepare("a")
    Path(staged, "input").write_text("given")
    outcome = await docker.run("a", "cat input; echo; env; pwd; echo left > output; exit 3")
    assert outcome.exit_code == 3
    lines = (await docker.said("a")).decode().splitlines()
    assert (lines[0], lines[-1]) == ("given", "/workspace")
    named = {line.partition("=")[0] for line in lines[1:-1]} - {"HOSTNAME", "SHLVL", "PWD"}
    given = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "RUNNER_JOB_ID", "RUNNER_ATTEMPT_ID", "IMAGE"}
    assert named - {name for name in named if name in ("LANGUAGE", "TZ", "TMPDIR") or name.startswith("LC_")} == given
    assert Path(docker.made.directory("a"), "output").read_text() == "left\n"


async def test_steps_share_one_container_and_its_log_says_where_each_begins(docker: Docker) -> None:
    outcome = await docker.run("a", "echo 1; touch /mark", "ls /mark; exit 4", "echo 3")
    assert (outcome.exit_code, outcome.step) == (4, 1)
    streams = [record.stream for record in await docker.log("a") if record.data]
    assert streams == [LogStream.STDOUT, LogStream.STEP, LogStream.STDOUT]


async def test_somebody_else_than_root_can_write_where_its_job_starts(docker: Docker) -> None:
    assert (await docker.run("a", "id -u; touch file; exit $?", user="worker")).succeeded
    assert await docker.said("a") == b"1234\n"


async def test_a_step_without_a_command_is_the_images_own(docker: Docker) -> None:
    await docker.start("a", Step(), container=Container(image=IMAGE, network="none"))
    assert (await docker.end("a")).outcome.succeeded
    assert await docker.said("a") == b"own command\n"


async def test_signals_and_exit_codes_are_told_apart(docker: Docker) -> None:
    outcomes = []
    for attempt_id, script in (("a", "kill -9 $$"), ("b", "exit 137")):
        await docker.begin(attempt_id, f"read line; {script}", stdin=Stdin.PIPE)
        await docker.until(attempt_id, Started)
        await docker.made.feed(attempt_id, 0, inputs.data(b"go\n"))
        outcomes.append((await docker.end(attempt_id)).outcome)
    killed, exited = outcomes
    assert (killed.kind, killed.signal) == (OutcomeKind.SIGNALED, 9)
    if tuple(map(int, platform.release().split("-")[0].split(".")[:2])) < (6, 15):
        pytest.skip("needs Linux 6.15, which tells how a process ended to who is not its parent")
    assert (exited.kind, exited.exit_code) == (OutcomeKind.EXITED, 137)


async def test_limits_are_kept_by_the_engine_and_usage_is_measured(docker: Docker) -> None:
    limits = Limits(cpus=0.5, memory_bytes=20 << 20, processes=8)
    outcome = await docker.run("a", "dd if=/dev/zero of=/dev/null bs=64M count=1", limits=limits)
    assert (outcome.kind, outcome.step) == (OutcomeKind.OUT_OF_MEMORY, 0)
    assert outcome.message == f"its processes used more than {20 << 20} bytes of memory"
    assert outcome.usage.peak_memory_bytes > 10 << 20
    assert outcome.usage.cpu_us > 0
    forks = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; echo all"
    await docker.run("b", forks, limits=limits)
    assert b"all" not in await docker.said("b")
    assert b"can't fork" in await docker.said("b", LogStream.STDERR)
    outcome = await docker.run(
        "c", "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>&1", limits=limits
    )
    assert b"50000" in await docker.said("c")


async def test_what_is_written_anywhere_in_a_container_counts(docker: Docker) -> None:
    for attempt_id, path in (("a", "/elsewhere"), ("b", "here")):
        script = f"head -c 3000000 /dev/zero > {path}; sleep 1000"
        outcome = await docker.run(attempt_id, script, limits=Limits(disk_bytes=1 << 20))
        assert (outcome.kind, outcome.unenforced_limits) == (OutcomeKind.OUT_OF_DISK, ())


async def test_the_runners_own_limits_hold_in_a_container_too(tmp_path: Path, engine: Dockerd) -> None:
    docker = Docker(tmp_path, engine, job_memory_bytes=20 << 20)
    await docker.made.adopt()
    outcome = await docker.run("a", "dd if=/dev/zero of=/dev/null bs=64M count=1", limits=Limits(memory_bytes=1 << 30))
    assert outcome.kind is OutcomeKind.OUT_OF_MEMORY
    await docker.made.close(stop=True)


async def test_200000_lines_and_every_byte_arrive_on_both_streams(docker: Docker) -> None:
    await docker.begin("a", "seq 200000; seq 200000 >&2; head -c 3000001 /dev/urandom > f; cat f; sha256sum f >&2")
    await docker.end("a")
    out, err = await docker.said("a"), await docker.said("a", LogStream.STDERR)
    lines = b"".join(b"%d\n" % number for number in range(1, 200_001))
    assert out[: len(lines)] == lines
    assert err[: len(lines)] == lines
    assert hashlib.sha256(out[len(lines) :]).hexdigest().encode() == err[len(lines) :].split()[0]
    assert len(out) == len(lines) + 3_000_001


async def test_an_image_that_is_not_there_is_refused_and_a_registry_that_is_away_is_the_runners_fault(
    docker: Docker,
) -> None:
    outcome = await docker.run("a", "true", image="nowhere:1", pull_policy=PullPolicy.NEVER)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, "IMAGE")
    assert "nowhere:1" in outcome.message
    outcome = await docker.run("b", "true", image="127.0.0.1:9/nowhere:1")
    assert (outcome.kind, outcome.detail) == (OutcomeKind.INFRASTRUCTURE, "prepare")
    assert "cannot be pulled now" in outcome.message


async def test_an_image_comes_from_a_registry_with_the_credentials_of_the_workers_account(
    docker: Docker, tmp_path: Path
) -> None:
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    engine, directory = docker.engine.engine, tmp_path / "registry"
    directory.mkdir()
    with docker_registry(directory, htpasswd=f"user:{SECRET}\n") as url:
        host = url.removeprefix("http://")
        name = f"{host}/team/tools"
        said = {"username": "user", "password": "secret", "serveraddress": host}
        headers = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(said).encode()).decode()}
        engine.call("POST", f"/images/{IMAGE}/tag?repo={name}&tag=3")
        pushed = list(engine.lines(f"/images/{name}/push?tag=3", headers, look=lambda _: None, timeout=PATIENCE))
        assert not any("error" in line for line in pushed), pushed
        digest = next(line["aux"]["Digest"] for line in pushed if "aux" in line)
        engine.call("DELETE", f"/images/{name}:3")

        outcome = await docker.run("stranger", "true", image=f"{name}:3")
        assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, "IMAGE")
        login = tmp_path / "config.json"
        login.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"user:secret").decode()}}}))
        docker.made._auth = str(login)
        wishes = [(f"{name}:3", PullPolicy.IF_MISSING), (f"{name}:3", PullPolicy.ALWAYS)]
        wishes.append((f"{name}@{digest}", PullPolicy.ALWAYS))
        for number, (wanted, policy) in enumerate(wishes):
            assert (await docker.run(f"a{number}", "exit 0", image=wanted, pull_policy=policy)).succeeded
        outcome = await docker.run("b", "true", image=f"{name}:4")
        assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, "IMAGE")
        assert "manifest unknown" in outcome.message
    outcome = await docker.run("c", "true", image=f"{name}:3", pull_policy=PullPolicy.ALWAYS)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.INFRASTRUCTURE, "prepare")


@pytest.mark.parametrize("about", [{"user": "nobody-at-all"}, {"volumes": ("/a:relative",)}])
async def test_a_container_that_cannot_be_is_refused(docker: Docker, about: dict[str, Any]) -> None:
    outcome = await docker.run("a", "true", **about)
    assert (outcome.kind, outcome.detail) == (OutcomeKind.REFUSED, "CONTAINER")
    assert not any(isinstance(event, OutputGrew) for event in docker.seen)


async def test_what_cannot_be_executed_says_why(docker: Docker) -> None:
    outcome = await docker.run("a", ["/etc/passwd"])
    assert (outcome.detail, outcome.message) == ("COMMAND_NOT_EXECUTABLE", 'exec: "/etc/passwd": permission denied')
    outcome = await docker.run("b", "true", working_directory="/no/where")
    assert (outcome.detail, outcome.message) == ("WORKING_DIRECTORY", "chdir /no/where: no such directory in the image")


async def test_volumes_are_mounted_as_they_are_asked_for(docker: Docker, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "in").write_text("in")
    assert (await docker.run("a", "cat /m/in; echo out > /m/out", volumes=(f"{shared}:/m",))).succeeded
    assert (shared / "out").read_text() == "out\n"
    outcome = await docker.run("b", "echo out > /m/again", volumes=(f"{shared}:/m:ro",))
    assert outcome.exit_code == 1


async def test_a_conversation_over_pipes(docker: Docker) -> None:
    await docker.begin("a", "while read line; do echo got $line; done; echo end", stdin=Stdin.PIPE)
    place = 0
    for number in range(3):
        place = await docker.made.feed("a", place, inputs.data(b"%d\n" % number)) or 0
        while b"got %d\n" % number not in await docker.said("a"):
            await docker.output("a")
    await docker.made.feed("a", place, [inputs.END])
    assert (await docker.end("a")).outcome.succeeded
    assert (await docker.said("a")).endswith(b"end\n")
    assert any(isinstance(event, InputWritten) for event in docker.seen)


async def test_a_terminal_with_its_size_and_its_signals(docker: Docker) -> None:
    script = "trap 'stty size' WINCH; stty size; trap 'echo int' INT; echo ready; while :; do sleep 0.05; done"
    await docker.begin("a", script, stdin=Stdin.PTY, terminal_rows=33, terminal_columns=99)

    async def shows(words: bytes) -> None:
        while words not in await docker.said("a", LogStream.PTY):
            await docker.output("a")

    await shows(b"ready\r\n")
    await shows(b"33 99\r\n")
    place = await docker.made.feed("a", 0, [inputs.resize(44, 111)]) or 0
    await shows(b"44 111\r\n")
    await docker.made.feed("a", place, inputs.data(b"\x03"))
    await shows(b"int\r\n")
    await docker.made.kill("a", KillCause.CANCEL)
    assert (await docker.end("a")).outcome.kind is OutcomeKind.CANCELLED


async def test_a_signal_of_the_input_reaches_the_job(docker: Docker) -> None:
    await docker.begin("a", "trap 'echo usr1; exit 5' USR1; echo ready; while :; do sleep 0.05; done", stdin=Stdin.PIPE)
    await docker.output("a")
    await docker.made.feed("a", 0, [inputs.signal(signal.SIGUSR1)])
    assert (await docker.end("a")).outcome.exit_code == 5


async def test_term_is_heard_by_all_and_grace_is_given(docker: Docker) -> None:
    await docker.begin("a", "trap 'echo bye; exit 0' TERM; echo ready; sleep 1000 & wait; sleep 1000", grace=PATIENCE)
    await docker.output("a")
    await docker.made.kill("a", KillCause.CANCEL)
    outcome = (await docker.end("a")).outcome
    assert (outcome.kind, outcome.survivors) == (OutcomeKind.CANCELLED, 0)
    assert await docker.said("a") == b"ready\nbye\n"


async def test_what_ignores_term_is_killed_with_all_that_hides(docker: Docker) -> None:
    script = "trap '' TERM; (setsid sleep 12345678 &) ; echo ready; while :; do sleep 1000; done"
    await docker.begin("a", script, timeout_seconds=1.0)
    outcome = (await docker.end("a")).outcome
    assert (outcome.kind, outcome.detail, outcome.survivors) == (OutcomeKind.TIMED_OUT, "run", 0)
    assert not running(b"12345678")


async def test_a_background_process_holds_up_nothing(docker: Docker) -> None:
    assert (await docker.run("a", "sleep 87654321 & echo done", timeout_seconds=PATIENCE)).succeeded
    assert not running(b"87654321")
