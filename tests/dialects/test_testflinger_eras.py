"""Clients of the document's era and of today, side by side against one server: each pair of command line and agent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
from testflinger_clients import Job, NewAgent, NewCli, OldAgent, OldCli, Refused, archive, good
from testflinger_server import LabServer, basic, queue_name

Agents = Callable[[str], OldAgent]


@pytest.fixture
def http(lab: LabServer) -> Iterator[Callable[[], httpx.Client]]:
    """Makes HTTP clients, each with cookies of its own."""
    made: list[httpx.Client] = []

    def make() -> httpx.Client:
        made.append(lab.http())
        return made[-1]

    yield make
    for one in made:
        one.close()


def cli_of(era: str, http: httpx.Client) -> OldCli:
    cli = OldCli(http) if era == "old" else NewCli(http)
    cli.log_in("maker")
    return cli


def agent_of(era: str, http: httpx.Client, *queues: str) -> OldAgent:
    # An agent of today belongs to the credential that it first came with.
    kind = OldAgent if era == "old" else NewAgent
    agent = kind(http, queue_name().replace("queue", "agent"), queues)
    agent.announce()
    return agent


ERAS = pytest.mark.parametrize(("cli_era", "agent_era"), [(a, b) for a in ("old", "new") for b in ("old", "new")])


@ERAS
def test_a_job_from_its_submission_to_its_artifact(
    http: Callable[[], httpx.Client], cli_era: str, agent_era: str
) -> None:
    queue = queue_name()
    agent, cli = agent_of(agent_era, http(), queue), cli_of(cli_era, http())
    assert cli.queues()[queue] == "a queue"
    if isinstance(cli, NewCli):
        assert cli.online(queue) == [agent.name]
    job_id = cli.submit(queue, test_data={"test_cmds": "true"}, job_priority=1, free={"x": [1, 2.5]})
    assert (cli.state(job_id), cli.position(job_id)) == ("waiting", 0)

    job = agent.take()
    assert (job["job_id"], job["free"], job["test_data"]) == (job_id, {"x": [1, 2.5]}, {"test_cmds": "true"})
    assert cli.state(job_id) == "running"
    with pytest.raises(Refused) as gone:
        cli.position(job_id)
    assert (gone.value.status, gone.value.reply.text) == (410, "Job not found or already started\n")

    polled = ""
    for phase, text in (("setup", "set up\n"), ("provision", ""), ("test", "größer\n")):
        assert agent.phase(job, phase, text)
        assert cli.state(job_id) == phase
        polled += cli.poll(job_id)
    agent.write(job, "console\n", serial=True)
    packed = archive("artifacts/log", b"\x00\xff" * 1000)
    agent.finish(job, packed)

    results = cli.results(job_id)
    assert polled == "set up\ngrößer\n" and cli.poll(job_id) == ""
    assert results["job_state"] == "complete"
    assert (results["test_status"], results["setup_status"], results["test_output"]) == (0, 0, "größer\n")
    assert "console\n" in (results.get("test_serial", "") + results.get("setup_serial", ""))
    assert cli.artifact(job_id) == packed
    assert agent.get_job() is None


@ERAS
def test_attachments_come_before_the_job(http: Callable[[], httpx.Client], cli_era: str, agent_era: str) -> None:
    queue = queue_name()
    agent, cli = agent_of(agent_era, http(), queue), cli_of(cli_era, http())
    job_id = cli.submit(queue, test_data={"attachments": [{"agent": "a", "device": "b"}]})
    later = cli.submit(queue)
    assert agent.take()["job_id"] == later
    assert agent.get_job() is None
    packed = archive("a", b"content" * 10_000)
    cli.attach(job_id, packed)
    cli.attach(job_id, b"again, and not stored")
    job = agent.take()
    assert (job["job_id"], job["attachments_status"]) == (job_id, "complete")
    assert agent.attachments(job) == packed


@ERAS
def test_a_cancelled_job_stays_cancelled(http: Callable[[], httpx.Client], cli_era: str, agent_era: str) -> None:
    queue = queue_name()
    agent, cli = agent_of(agent_era, http(), queue), cli_of(cli_era, http())
    job_id = cli.submit(queue)
    job = agent.take()
    assert agent.phase(job, "setup")
    if isinstance(cli, NewCli):
        good(cli.http.post(f"/v1/job/{job_id}/action", json={"action": "cancel"}, headers=cli._headers()))
    else:
        good(cli.http.post(f"/v1/job/{job_id}/action", json={"action": "cancel"}, headers=cli._headers()))
    assert not agent.phase(job, "provision")
    agent.finish(job)
    assert cli.state(job_id) == "cancelled"


def test_an_old_agent_gives_a_job_back_and_one_of_today_takes_it(http: Callable[[], httpx.Client]) -> None:
    queue = queue_name()
    old, new, cli = agent_of("old", http(), queue), agent_of("new", http(), queue), cli_of("old", http())
    job_id = cli.submit(queue, tags=["again"])
    job = old.take()
    old.give_back(job)
    assert cli.state(job_id) == "waiting"
    again = new.take()
    assert (again["job_id"], again["tags"]) == (job_id, ["again"])


def test_output_of_either_agent_is_read_by_either_command_line(http: Callable[[], httpx.Client]) -> None:
    for agent_era in ("old", "new"):
        queue = queue_name()
        agent = agent_of(agent_era, http(), queue)
        readers = [cli_of("old", http()), cli_of("new", http())]
        job_id = readers[0].submit(queue)
        job = agent.take()
        agent.result(job, job_state="test")
        for piece in ("one\n", "two\n"):
            agent.write(job, piece)
            assert [cli.poll(job_id) for cli in readers] == [piece, piece]
        assert [cli.poll(job_id) for cli in readers] == ["", ""]


def test_two_readers_of_the_older_output_both_get_all(http: Callable[[], httpx.Client]) -> None:
    queue = queue_name()
    agent = agent_of("old", http(), queue)
    one, two = OldCli(http()), cli_of("old", http())
    job_id = one.submit(queue)
    job = agent.take()
    agent.write(job, "a")
    agent.write(job, "b\n")
    agent.write(job, "c")

    def poll(cli: OldCli) -> str:
        headers = {} if cli.token is None else {"Authorization": cli.token}
        reply = cli.http.get(f"/v1/result/{job_id}/output", headers=headers)
        return reply.text

    # Each piece is on a line of its own where the one before did not end its line.
    assert [poll(one), poll(two), poll(one)] == ["a\nb\nc", "a\nb\nc", ""]


def test_both_eras_work_at_the_same_time(http: Callable[[], httpx.Client]) -> None:
    queue = queue_name()
    agents = [agent_of(era, http(), queue) for era in ("old", "new", "old")]
    done: list[str] = []

    def serve(agent: OldAgent) -> None:
        while (job := agent.get_job()) is not None:
            run(agent, job)
            done.append(job["job_id"])

    def run(agent: OldAgent, job: Job) -> None:
        for phase in ("setup", "test"):
            assert agent.phase(job, phase, f"{phase} of {job['job_id']}\n")
        agent.finish(job)

    clis = [cli_of(era, http()) for era in ("old", "new")]
    wanted = [cli.submit(queue, name=str(number)) for number in range(12) for cli in clis]
    threads = [threading.Thread(target=serve, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == sorted(wanted)
    for job_id in wanted:
        assert [cli.state(job_id) for cli in clis] == ["complete", "complete"]
        assert clis[0].results(job_id)["test_output"] == f"test of {job_id}\n"


@pytest.mark.parametrize("era", ["seed", "today"])
def test_the_setting_forces_an_era_on_everybody(tmp_path_factory: pytest.TempPathFactory, era: str) -> None:
    with LabServer(tmp_path_factory.mktemp(era), era=era) as lab, lab.http() as http:
        root = http.get("/")
        assert (root.status_code, root.headers.get("location")) == ((302, "/agents") if era == "seed" else (200, None))
        assert "<html" in http.get("/", follow_redirects=True).text
        token = http.post("/v1/oauth2/token", headers={"Authorization": basic("maker")})
        assert token.headers["content-type"].startswith("text/html" if era == "seed" else "application/json")
        agent = http.post("/v1/agents/data/a", json={})
        assert agent.text.strip() == ("OK" if era == "seed" else '{"status":"OK"}')
        listening = http.get("/v1/queues/nobody/agents")
        assert listening.status_code == (200 if era == "seed" else 404)
        action = http.post(f"/v1/job/{'0' * 32}/action", json={"action": "cancel"})
        assert action.status_code == (404 if era == "seed" else 400)
        log = http.post("/v1/agents/provision_logs/unknown", json={"job_id": "x", "exit_code": 0})
        assert (log.status_code, log.text) == ((200, "OK") if era == "seed" else (404, "Agent not found\n"))
