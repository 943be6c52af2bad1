"""Each commit path outside a job's life: what takes it, all that it writes, and what is seen of it."""

from __future__ import annotations

from typing import Any

from faults_calls import ANEW, REFUSED, Call, Row, delete, get, post, put

DAYS = 86_400.0
LAB = {
    "clients": [
        {"client_id": "boss", "secret": "boss-secret-of-the-lab", "role": "admin", "max_priority": {"*": 100}},
        {"client_id": "robot", "secret": "robot-secret-of-the-lab", "role": "agent"},
    ]
}
SETTINGS: dict[str, Any] = {
    "testflinger": {**LAB, "lease_sweep_seconds": 3600.0},
    "server": {"shutdown_grace_seconds": 1},
}
SWEEPING: dict[str, Any] = {
    "testflinger": {**LAB, "lease_sweep_seconds": 0.1},
    "retention": {"sweep_seconds": 0.2},
}


def by_itself(path: str, *tables: str, days: float, before: tuple[Call, ...], **fields: Any) -> Row:
    """A row of what the server does when time has passed."""
    return Row(path, None, tables, before, later=days * DAYS, more=SWEEPING, takes_long=True, **fields)


AGENT_REPORT = {"agentId": "a1", "agentName": "A", "agentSource": "s", "topic": "t", "status": "STATUS_RUNNING"}
NIL = "00000000-0000-4000-8000-00000000000"
SECRET = put("/api/v2/secrets/one", value="dmFsdWUtb2Ytb25l", requestId="r-secret")
IMAGE = post("/api/v2/images:push", name="mine", tag="v1", description="words", requestId="r-image")
USAGE = """sh -c 'echo {\\"type\\":\\"usage\\",\\"tokens\\":5}; exec sleep 1000'"""
TALKER = post("/api/v2/images:push", name="talker", tag="v1", metadata={"entrypoint": USAGE})
REGISTER = post("/api/v2/runners", name="r", slots=1)
HOSTED = post("/api/v2/runners", name="hosted", slots=1, hosted=True)
CLIENT = put("/v1/client-permissions/guest", by="boss", client_secret="guest-secret-of-the-lab", role="contributor")
TOKEN = Call("POST", "/v1/oauth2/token", None, "basic boss")
LAB_AGENT = post("/v1/agents/data/lab-agent", state="waiting", queues=["lab-queue"])
LAB_SECRET = put("/v1/secrets/boss/a/b", by="boss", value="s3cr3t-value")
OUTPUT = Call("POST", f"/v1/result/{NIL}1/output", raw=b"some output\n")
ARTIFACT = Call("POST", f"/v1/result/{NIL}2/artifact", raw=b"an archive")
WANTING = {"job_queue": "wanting", "test_data": {"test_cmds": "true", "secrets": {"NAME": "a/b"}}}
ATTACHED = {"job_queue": "attached", "test_data": {"attachments": [{"agent": "f"}]}}

ROWS = (
    # What stands behind every call.
    Row(
        "answers.keep",
        put("/api/v2/secrets/kept", value="dmFsdWUtb2Ytb25l", requestId="r1"),
        ("answers.told",),
        halfway=("(0,)",),
    ),
    Row(
        "answers.begin",
        post("/api/v2/runners:batchOperate", operation="OPERATION_START", tags=["nobody"], requestId="r0"),
        ("answers.note",),
    ),
    by_itself("answers.drop", "answers", days=40, before=(SECRET,)),
    Row("audit.append", put("/api/v2/secrets/noted", value="dmFsdWUtb2Ytb25l"), ("audit_entries",), repeated=ANEW),
    by_itself("audit.purge", "audit_entries", days=200, before=(SECRET,), see=get("/api/v2/auth/audit")),
    # Keys and clients.
    Row(
        "credentials.add_key",
        post("/api/v2/auth/keys", name="ci", role="ROLE_VIEWER", requestId="r2"),
        ("api_keys",),
        see=get("/api/v2/auth/keys"),
    ),
    Row(
        "credentials.revoke_key",
        Call("POST", "/api/v2/auth/keys/{apiKey.keyId}:revoke?requestId=r3"),
        ("api_keys",),
        before=(post("/api/v2/auth/keys", name="gone", role="ROLE_VIEWER"),),
        see=get("/api/v2/auth/keys"),
    ),
    Row("credentials.put_client", CLIENT, ("clients",), see=get("/v1/client-permissions", by="boss"), repeated=ANEW),
    Row(
        "credentials.delete_client",
        delete("/v1/client-permissions/guest", by="boss"),
        ("clients",),
        before=(CLIENT,),
        see=get("/v1/client-permissions", by="boss"),
        repeated=REFUSED,
    ),
    Row("credentials.add_token", TOKEN, ("refresh_tokens",), repeated=ANEW),
    Row(
        "credentials.touch_token",
        post("/v1/oauth2/refresh", refresh_token="{refresh_token}"),
        ("refresh_tokens",),
        before=(TOKEN,),
        repeated=ANEW,
    ),
    Row(
        "credentials.revoke_token",
        post("/v1/oauth2/revoke", by="boss", refresh_token="{refresh_token}"),
        ("refresh_tokens",),
        before=(TOKEN,),
        repeated=REFUSED,
    ),
    Row(
        "credentials.revoke_tokens",
        put("/v1/client-permissions/guest", by="boss", client_secret="other-secret-of-the-lab", role="contributor"),
        ("refresh_tokens",),
        before=(CLIENT, Call("POST", "/v1/oauth2/token", None, "basic guest")),
        repeated=ANEW,
    ),
    by_itself("credentials.purge_tokens", "refresh_tokens", days=200, before=(TOKEN,)),
    # Images and agents.
    Row("images.put", IMAGE, ("images", "image_tags"), see=get("/api/v2/images")),
    Row(
        "images.untag",
        delete("/api/v2/images/mine:v1?requestId=r4"),
        ("image_tags",),
        before=(IMAGE,),
        see=get("/api/v2/images"),
    ),
    Row(
        "agents.create",
        post("/api/v2/agents", image="echo", requestId="r5"),
        ("agents", "jobs", "job_bodies"),
        see=get("/api/v2/agents"),
    ),
    Row(
        "agents.remove",
        delete("/api/v2/agents/{agent.agentId}?requestId=r6"),
        ("agents.removed",),
        before=(post("/api/v2/agents", image="echo"), post("/api/v2/jobs/{agent.agentId}:cancel")),
        see=get("/api/v2/agents"),
    ),
    # What agents elsewhere report.
    Row(
        "agent_reports.report_all",
        post("/api/v2/agent-reports", **AGENT_REPORT, requestId="r7"),
        ("reported_agents", "report_sessions", "agent_reports"),
        see=get("/api/v2/reported-agents/a1/reports"),
    ),
    by_itself(
        "agent_reports.expire",
        "report_sessions",
        days=1,
        before=(post("/api/v2/agent-reports", **AGENT_REPORT | {"topic": "old"}),),
    ),
    by_itself(
        "agent_reports.purge",
        "reported_agents",
        "agent_reports",
        days=60,
        before=(post("/api/v2/agent-reports", **AGENT_REPORT | {"topic": "older"}),),
        aged=(1 * DAYS, "report_sessions"),
        see=get("/api/v2/reported-agents"),
    ),
    # Labs.
    Row("lab_agents.post", LAB_AGENT, ("lab_agents",), see=get("/v1/agents/data"), repeated=ANEW),
    Row(
        "lab_agents.add_provision_log",
        post("/v1/agents/provision_logs/lab-agent", by="robot", job_id=f"{NIL}3", exit_code=1, detail="broken"),
        ("lab_agents", "lab_provision_logs"),
        before=(LAB_AGENT,),
        see=get("/v1/agents/data"),
        repeated=ANEW,
    ),
    Row(
        "lab_agents.advertise",
        post("/v1/agents/queues", told="a queue"),
        ("lab_queues",),
        see=get("/v1/agents/queues"),
        repeated=ANEW,
    ),
    Row(
        "lab_agents.set_images",
        post("/v1/agents/images", pictured={"focal": "url: http://focal"}),
        ("lab_queues",),
        see=get("/v1/agents/images/pictured"),
        repeated=ANEW,
    ),
    Row(
        "lab_agents.restrict",
        post("/v1/restricted-queues/lab-queue", by="boss", client_id="boss"),
        ("lab_queue_owners",),
        before=(LAB_AGENT,),
        see=get("/v1/restricted-queues"),
    ),
    Row(
        "lab_agents.release",
        Call("DELETE", "/v1/restricted-queues/lab-queue", {"client_id": "boss"}, "boss"),
        ("lab_queue_owners",),
        before=(LAB_AGENT, post("/v1/restricted-queues/lab-queue", by="boss", client_id="boss")),
        see=get("/v1/restricted-queues"),
        repeated=REFUSED,
    ),
    by_itself(
        "lab_agents.expire",
        "lab_agents",
        "lab_queues",
        days=40,
        before=(LAB_AGENT,),
        see=get("/v1/agents/data"),
    ),
    Row("lab_records.append", OUTPUT, ("lab_output",), see=get(f"/v1/result/{NIL}1"), repeated=ANEW),
    Row("lab_records.put_file", ARTIFACT, ("lab_files",), see=get(f"/v1/result/{NIL}2/artifact"), repeated=ANEW),
    Row(
        "lab_records.unread",
        get(f"/v1/result/{NIL}4/output"),
        ("lab_readers",),
        before=(OUTPUT._replace(path=f"/v1/result/{NIL}4/output"),),
        repeated=ANEW,
    ),
    by_itself("lab_records.expire", "lab_records", "lab_output", "lab_files", days=40, before=(OUTPUT, ARTIFACT)),
    Row("lab_secrets.put", LAB_SECRET, ("lab_secrets",), repeated=ANEW),
    Row("lab_secrets.drop", delete("/v1/secrets/boss/a/b", by="boss"), ("lab_secrets",), before=(LAB_SECRET,)),
    Row(
        "lab_secrets.take",
        post("/api/v2/queues:pop", queues=["wanting"], agent="x", requestId="r15"),
        ("lab_secrets",),
        before=(
            put("/v1/secrets/boss/a/b", by="boss", value="s3cr3t-value", ephemeral=True),
            post("/v1/job", by="boss", **WANTING),
        ),
    ),
    by_itself(
        "lab_secrets.expire",
        "lab_secrets",
        days=40,
        before=(put("/v1/secrets/boss/a/c", by="boss", value="s3cr3t-value", expire_after=60),),
    ),
    # Queues.
    Row(
        "queues.push_all",
        post("/api/v2/queues/q1/jobs", definition={"a": 1}, requestId="r8"),
        ("queue_jobs", "jobs"),
        see=get("/api/v2/queues"),
    ),
    Row(
        "queues.pop_all",
        post("/api/v2/queues:pop", queues=["q2"], agent="x", requestId="r9"),
        ("queue_jobs",),
        before=(post("/api/v2/queues/q2/jobs", definition={}),),
    ),
    Row(
        "queues.renew",
        post("/api/v2/queues/jobs/{queueJob.job.jobId}:renew", agent="x", lease="900s", requestId="r10"),
        ("queue_jobs.lease_us",),  # when it ends, a server that starts says anew
        before=(
            post("/api/v2/queues/q3/jobs", definition={}),
            post("/api/v2/queues:pop", queues=["q3"], agent="x", lease="60s"),
        ),
    ),
    Row(
        "queues.renew_all",
        None,
        ("queue_jobs",),
        before=(
            post("/api/v2/queues/q4/jobs", definition={}),
            post("/api/v2/queues:pop", queues=["q4"], agent="x", lease="60s"),
        ),
        at_start=True,
    ),
    Row(
        "queues.set_attachments",
        Call("POST", "/v1/job/{job_id}/attachments", raw=b"an archive"),
        ("queue_jobs",),
        before=(post("/v1/job", **ATTACHED),),
        see=get("/v1/job/{job_id}/attachments"),
    ),
    Row(
        "queues.expire",
        None,
        ("queue_jobs.lease_until IS NULL", "jobs"),
        before=(
            post("/api/v2/queues/q5/jobs", definition={}),
            post("/api/v2/queues:pop", queues=["q5"], agent="x", lease="1s"),
        ),
        see=get("/api/v2/jobs/{queueJob.job.jobId}"),
        more=SWEEPING,
    ),
    Row(
        "queue_results.post_result",
        post(
            "/api/v2/queues/jobs/{queueJob.job.jobId}:report",
            agent="x",
            labState="complete",
            result={"a": 1},
            requestId="r11",
        ),
        ("queue_jobs.phase", "lab_results", "jobs"),
        before=(
            post("/api/v2/queues/q6/jobs", definition={}),
            post("/api/v2/queues:pop", queues=["q6"], agent="x"),
        ),
        see=get("/api/v2/jobs/{queueJob.job.jobId}"),
    ),
    # Runners and secrets.
    Row(
        "worker_credentials.register_once",
        post("/api/v2/runners", name="once", slots=1, requestId="r16"),
        ("runners", "runner_profiles", "worker_credentials"),
        see=get("/api/v2/runners"),
    ),
    Row(
        "runners.change",
        Call(
            "PATCH",
            "/api/v2/runners/{runner.runnerId}?updateMask=port&requestId=r12",
            {"port": 4711},
        ),
        ("runner_profiles",),
        before=(REGISTER,),
        see=get("/api/v2/runners"),
    ),
    Row(
        "runner_control.drop",
        delete("/api/v2/runners/{runner.runnerId}?requestId=r13"),
        ("runners", "runner_profiles"),
        before=(REGISTER,),
        see=get("/api/v2/runners"),
    ),
    Row(
        "runner_control.advance",
        post("/api/v2/runners/{runner.runnerId}:start", requestId="r17"),
        ("runners.state = 'ACTIVE'",),
        before=(HOSTED, post("/api/v2/runners/{runner.runnerId}:stop")),
        goes_on=True,
    ),
    Row(
        "runner_control.save_check",
        get("/api/v2/runners/{runner.runnerId}/health"),
        ("runner_checks",),
        before=(HOSTED,),
        repeated=ANEW,
    ),
    by_itself("runner_events.expire", "runner_events", days=400, before=(REGISTER,)),
    Row("secrets.put", SECRET, ("secrets",), see=get("/api/v2/secrets")),
    Row("secrets.drop", delete("/api/v2/secrets/one?requestId=r14"), ("secrets",), before=(SECRET,)),
    # With a worker, whose doing they are.
    Row(
        "agents.record",
        None,
        ("agents.tokens", "agents.read_offset"),
        before=(TALKER, post("/api/v2/agents", image="talker:v1")),
        goes_on=True,
        with_worker=True,
        takes_long=True,
    ),
    Row(
        "agents.measure",
        None,
        ("agents.memory_bytes",),
        before=(post("/api/v2/agents", image="echo"),),
        with_worker=True,
        takes_long=True,
    ),
    Row(
        "lab_records.note_read",
        get("/v1/result/{job_id}/output"),
        ("lab_readers",),
        before=(post("/v1/job", job_queue="ours", test_data={"test_cmds": "echo hello"}),),
        repeated=ANEW,
        with_worker=True,
        more={"executor": {"queues": ["ours"]}},
    ),
    Row("samples.add", None, ("runner_samples",), with_worker=True, takes_long=True),
    by_itself("samples.expire", "runner_samples", days=400, before=()),  # those of the row before
)
