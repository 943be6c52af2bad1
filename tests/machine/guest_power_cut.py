"""What a machine does before and after its power is cut: ``before`` or ``after``, and the directory on its disk.

Standard library only: its imports take seconds there.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

HTTP = "127.0.0.1:18080"
SETTINGS = """
server: {host: 127.0.0.1, port: 18080, grpc: "127.0.0.1:15051"}
executor: {max_concurrent_jobs: 1}
"""


def serve(directory: Path) -> None:
    settings = directory / "settings.yaml"
    settings.write_text(SETTINGS)
    arguments = ["serve", "--config", str(settings), "--data-dir", str(directory / "data")]
    server = subprocess.Popen([Path(sys.executable).parent / "runner", *arguments], stdout=subprocess.PIPE)
    assert server.stdout is not None
    for line in server.stdout:
        sys.stdout.write(line.decode())
        if b"ready" in line:
            return
    sys.exit(f"the server ended: {server.wait()}")


def say(what: str, fact: str) -> None:
    sys.stdout.write(f"{what}: {fact}\n")
    sys.stdout.flush()


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def call(path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HTTP}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def job(script: str) -> str:
    spec = {"steps": [{"script": script}]}
    made: str = call("/api/v2/jobs", {"spec": spec})["job"]["jobId"]
    return made


def until(job_id: str, *states: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = call(f"/api/v2/jobs/{job_id}")["job"]
        if found["state"] in states:
            return found
        time.sleep(0.2)


def text(job_id: str) -> str:
    entries = call(f"/api/v2/jobs/{job_id}/logs").get("entries", ())
    return b"".join(base64.b64decode(entry.get("data", "")) for entry in entries).decode()


def before(directory: Path) -> None:
    done = job("echo all is well")
    until(done, "STATE_SUCCEEDED")
    runs = job("echo so far; sleep 100000")
    until(runs, "STATE_RUNNING")
    while text(runs) != "so far\n":
        time.sleep(0.2)
    queued = job("echo afterwards")  # There is room for one.
    say("boot", boot())
    say("jobs", json.dumps([done, runs, queued]))
    time.sleep(100000)


def after(directory: Path, *jobs: str) -> None:
    over = ("STATE_SUCCEEDED", "STATE_FAILED", "STATE_LOST", "STATE_CANCELLED", "STATE_TIMED_OUT")
    say("found", json.dumps([{"job": until(one, *over), "text": text(one)} for one in jobs]))
    say("boot", boot())
    store = sqlite3.connect(f"file:{directory}/data/runner.db?mode=ro", uri=True)
    say("store", store.execute("PRAGMA integrity_check").fetchone()[0])


if __name__ == "__main__":
    os.umask(0o077)
    serve(Path(sys.argv[2]))
    (before if sys.argv[1] == "before" else after)(Path(sys.argv[2]), *sys.argv[3:])
