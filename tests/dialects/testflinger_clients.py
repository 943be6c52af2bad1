"""Agents and command lines of both eras, as they speak: each sends and checks what its program does, and no more.

Both programs know success by the status 200 alone, and 204 for "nothing there". Everything else is an error to them.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from typing import Any

import httpx
from testflinger_server import basic

Job = dict[str, Any]
_logins: dict[tuple[str, str, str], Any] = {}
"""Answers by server, era and client: hashing passwords takes its time on purpose, and tokens are good for a while."""


class Refused(Exception):
    """A status that the program takes for an error."""

    def __init__(self, reply: httpx.Response) -> None:
        super().__init__(f"{reply.status_code} {reply.text}")
        self.status = reply.status_code
        self.reply = reply


def good(reply: httpx.Response) -> httpx.Response:
    if reply.status_code != 200:
        raise Refused(reply)
    return reply


def archive(name: str, content: bytes) -> bytes:
    """A gzipped tar of one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def token_answer(http: httpx.Client, client_id: str) -> Job:
    """What today's programs get for their credentials."""
    known = (str(http.base_url), "new", client_id)
    if known not in _logins:
        _logins[known] = good(http.post("/v1/oauth2/token", headers={"Authorization": basic(client_id)})).json()
    answer: Job = _logins[known]
    return answer


@dataclass
class OldCli:
    """testflinger-cli of the document's era."""

    http: httpx.Client
    token: str | None = None

    def log_in(self, client_id: str) -> None:
        known = (str(self.http.base_url), "old", client_id)
        if known not in _logins:
            reply = self.http.post("/v1/oauth2/token", json={}, headers={"Authorization": basic(client_id)})
            assert reply.headers["content-type"].startswith("text/html")
            _logins[known] = good(reply).text
        self.token = _logins[known]

    def _headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": self.token}

    def submit(self, queue: str, **members: Any) -> str:
        body = {"job_queue": queue, **members}
        job_id: str = good(self.http.post("/v1/job", json=body, headers=self._headers())).json()["job_id"]
        return job_id

    def attach(self, job_id: str, data: bytes) -> None:
        files = {"file": ("file", data, "application/x-gzip")}
        good(self.http.post(f"/v1/job/{job_id}/attachments", files=files))

    def state(self, job_id: str) -> str:
        state: str = good(self.http.get(f"/v1/result/{job_id}")).json()["job_state"]
        return state

    def results(self, job_id: str) -> Job:
        result: Job = good(self.http.get(f"/v1/result/{job_id}")).json()
        return result

    def poll(self, job_id: str) -> str:
        reply = self.http.get(f"/v1/result/{job_id}/output")
        return "" if reply.status_code == 204 else good(reply).text

    def position(self, job_id: str) -> int:
        return int(good(self.http.get(f"/v1/job/{job_id}/position")).text)

    def cancel(self, job_id: str) -> None:
        good(self.http.post(f"/v1/job/{job_id}/action", json={"action": "cancel"}))

    def show(self, job_id: str) -> Job:
        shown: Job = good(self.http.get(f"/v1/job/{job_id}")).json()
        return shown

    def artifact(self, job_id: str) -> bytes:
        return good(self.http.get(f"/v1/result/{job_id}/artifact")).content

    def queues(self) -> dict[str, str]:
        queues: dict[str, str] = good(self.http.get("/v1/agents/queues")).json()
        return queues


@dataclass
class NewCli(OldCli):
    """testflinger-cli of today: a Bearer token, output by fragments, a look at the agents before a submission."""

    refresh_token: str = ""
    seen: dict[str, int] = field(default_factory=dict)

    def log_in(self, client_id: str) -> None:
        answer = token_answer(self.http, client_id)
        assert (answer["token_type"], answer["expires_in"], len(answer["refresh_token"])) == ("Bearer", 600, 48)
        self.token, self.refresh_token = answer["access_token"], answer["refresh_token"]

    def _headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def online(self, queue: str) -> list[str]:
        reply = self.http.get(f"/v1/queues/{queue}/agents", headers=self._headers())
        if reply.status_code == 204:
            return []
        return [one["name"] for one in good(reply).json() if one["state"] not in ("offline", "maintenance")]

    def poll(self, job_id: str) -> str:
        """What is new, by the number of the last fragment."""
        query = {"start_fragment": self.seen.get(job_id, -1) + 1}
        reply = self.http.get(f"/v1/result/{job_id}/log/output", params=query, headers=self._headers())
        phases = good(reply).json()["output"]
        self.seen[job_id] = max(self.seen.get(job_id, -1), *(one["last_fragment_number"] for one in phases.values()))
        return "".join(one["log_data"] for one in phases.values())


@dataclass
class OldAgent:
    """testflinger-agent of the document's era: anonymous, takes any body for a job, posts flat results."""

    http: httpx.Client
    name: str
    queues: tuple[str, ...]

    def announce(self) -> None:
        self._data(state="waiting", queues=list(self.queues), location="lab")
        good(self.http.post("/v1/agents/queues", json=dict.fromkeys(self.queues, "a queue")))

    def _data(self, **members: Any) -> None:
        assert good(self.http.post(f"/v1/agents/data/{self.name}", json=members)).text == "OK"
        # It keeps none.
        self.http.cookies.clear()

    def get_job(self) -> Job | None:
        reply = self.http.get("/v1/job", params={"queue": list(self.queues)})
        # It does not look at the status.
        return reply.json() or None if reply.content else None

    def take(self) -> Job:
        job = self.get_job()
        assert job is not None
        self._data(job_id=job["job_id"])
        return job

    def state(self, job: Job) -> str:
        state: str = good(self.http.get(f"/v1/result/{job['job_id']}")).json()["job_state"]
        return state

    def attachments(self, job: Job) -> bytes:
        return good(self.http.get(f"/v1/job/{job['job_id']}/attachments")).content

    def result(self, job: Job, **members: Any) -> None:
        assert good(self.http.post(f"/v1/result/{job['job_id']}", json=members)).text == "OK"

    def write(self, job: Job, text: str, *, serial: bool = False) -> None:
        path = "serial_output" if serial else "output"
        good(self.http.post(f"/v1/result/{job['job_id']}/{path}", content=text.encode()))

    def phase(self, job: Job, phase: str, text: str = "", status: int = 0) -> bool:
        """One phase; False: the job was cancelled."""
        if self.state(job) == "cancelled":
            return False
        self.result(job, job_state=phase)
        self._data(state=phase)
        if text:
            self.write(job, text)
        self.result(job, **{f"{phase}_status": status, f"{phase}_output": text})
        return True

    def finish(self, job: Job, artifact: bytes | None = None) -> None:
        good(
            self.http.post(
                f"/v1/agents/provision_logs/{self.name}", json={"job_id": job["job_id"], "exit_code": 0, "detail": ""}
            )
        )
        if artifact is not None:
            files = {"file": ("file", artifact, "application/x-gzip")}
            good(self.http.post(f"/v1/result/{job['job_id']}/artifact", files=files))
        self.result(job, job_state="complete")
        self._data(job_id="", state="waiting")

    def give_back(self, job: Job) -> None:
        """Posts the job again, with all that it got."""
        good(self.http.post("/v1/job", json=job))


@dataclass
class NewAgent(OldAgent):
    """testflinger-agent of today: a token of the role agent and a cookie, output by fragments, obeys its own state."""

    client_id: str = "robot"
    token: str = ""
    fragments: dict[str, int] = field(default_factory=dict)

    def log_in(self) -> None:
        answer = token_answer(self.http, self.client_id)
        self.token = answer["access_token"]
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def announce(self) -> None:
        self.log_in()
        super().announce()
        assert self.http.cookies["agent_name"] == self.name

    def _data(self, **members: Any) -> None:
        assert good(self.http.post(f"/v1/agents/data/{self.name}", json=members)).json() == {"status": "OK"}

    def get_job(self) -> Job | None:
        reply = self.http.get("/v1/job", params={"queue": list(self.queues)})
        if reply.status_code == 204:
            return None
        job: Job = good(reply).json()
        return job

    def orders(self) -> tuple[str, str]:
        """The state and comment that it obeys."""
        data = good(self.http.get(f"/v1/agents/data/{self.name}")).json()
        return data["state"], data["comment"]

    def write(self, job: Job, text: str, *, serial: bool = False, phase: str = "test") -> None:
        kind = "serial" if serial else "output"
        number = self.fragments[kind] = self.fragments.get(kind, -1) + 1
        body = {
            "fragment_number": number,
            "timestamp": "2026-11-20T15:44:33.123456+00:00",
            "phase": phase,
            "log_data": text,
        }
        for _ in range(2):
            # As if the first answer had been lost.
            good(self.http.post(f"/v1/result/{job['job_id']}/log/{kind}", json=body))

    def phase(self, job: Job, phase: str, text: str = "", status: int = 0) -> bool:
        if self.state(job) == "cancelled":
            return False
        assert self.orders()[0] not in ("offline", "maintenance", "restart")
        self.result(job, job_state=phase)
        self._data(state=phase, comment="")
        if text:
            self.write(job, text, phase=phase)
        self.result(job, status={phase: status})
        return True

    def finish(self, job: Job, artifact: bytes | None = None) -> None:
        super().finish(job, artifact)
        assert good(self.http.get("/v1")).text.startswith("Testflinger Server v")
