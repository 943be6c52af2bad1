"""AuthService on both ports: keys from their making to their end, who one is, and the audit of it all."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from access_app import Served, serve
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from runner.v1.api_key_pb2 import ApiKey
from runner_client.errors import ClientError

KEYS, AUDIT, WHO = "/api/v2/auth/keys", "/api/v2/auth/audit", "/api/v2/auth/whoami"
COMMANDS = "/api/v2/commands"


async def test_a_key_is_made_used_and_revoked_over_rest(served: Served) -> None:
    async with served.rest("admin-key") as admin:
        made = (await admin.post(KEYS, json={"name": "ci", "role": "ROLE_OPERATOR", "lifetime": "3600s"})).json()
        kept, key = made["apiKey"], made["key"]
        assert (kept["name"], kept["role"], kept["createdBy"]) == ("ci", "ROLE_OPERATOR", "boss")
        async with served.rest(key) as ci:
            me = (await ci.get(WHO)).json()
            assert (me["name"], me["role"], me["anonymous"]) == ("ci", "ROLE_OPERATOR", False)
            assert (await ci.post(COMMANDS, json={"argv": ["true"]})).status_code == 200
            assert (await ci.get(KEYS)).status_code == 403
            revoked = await admin.post(f"{KEYS}/{kept['keyId']}:revoke")
            assert revoked.status_code == 200 and "revokeTime" in revoked.json()["apiKey"]
            assert (await ci.get(WHO)).status_code == 401
        assert (await admin.post(f"{KEYS}/{kept['keyId']}:revoke")).json() == revoked.json()
        assert (await admin.post(f"{KEYS}/nothing:revoke")).status_code == 404
    # What is kept is a hash.
    with sqlite3.connect(served.data_dir / "runner.db") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert key.split("_", 2)[2] not in dump


async def test_keys_are_made_and_listed_over_grpc_in_pages(served: Served) -> None:
    async with served.client("admin-key") as admin:
        made = [await admin.auth.create_key(name, ApiKey.ROLE_VIEWER) for name in ("b", "a", "c")]
        assert [key.name for key in await admin.auth.list_keys()] == ["b", "a", "c"]
        assert await admin.auth.revoke_key(made[0].api_key.key_id)
    async with served.rest("admin-key") as rest:
        first = (await rest.get(KEYS, params={"pageSize": "2"})).json()
        second = (await rest.get(KEYS, params={"pageSize": "2", "pageToken": first["nextPageToken"]})).json()
        assert [key["name"] for key in first["apiKeys"] + second["apiKeys"]] == ["b", "a", "c"]
        assert second["nextPageToken"] == ""
        assert (await rest.get(KEYS, params={"pageToken": "x"})).status_code == 400
    async with served.client(made[1].key) as viewer:
        assert (await viewer.auth.who_am_i()).role == ApiKey.ROLE_VIEWER
        with pytest.raises(ClientError):
            await viewer.auth.create_key("mine", ApiKey.ROLE_ADMIN)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "ROLE_ADMIN"}, "name"),
        ({"name": "x"}, "role"),
        ({"name": "x", "role": "ROLE_ADMIN", "lifetime": "-1s"}, "lifetime"),
    ],
)
async def test_what_is_wrong_with_a_key_is_named(served: Served, body: dict[str, Any], field: str) -> None:
    async with served.rest("admin-key") as admin:
        reply = await admin.post(KEYS, json=body)
    assert reply.status_code == 400
    assert field in reply.text


async def test_who_one_is_without_a_credential_depends_on_where_one_is(served: Served) -> None:
    async with served.rest() as here:
        me = (await here.get(WHO)).json()
        assert (me["name"], me["role"], me["anonymous"]) == ("", "ROLE_ADMIN", True)
        assert me["peer"].startswith("ipv4:127.0.0.1:")
        assert (await here.get(WHO, headers={"authorization": "Bearer nonsense"})).status_code == 401
        for said in ({"x-forwarded-for": "198.18.0.9"}, {"forwarded": "for=198.18.0.9"}, {"x-real-ip": "198.18.0.9"}):
            forwarded = await here.get(WHO, headers=said)
            assert forwarded.status_code == 401, "a proxy that is not trusted speaks for somebody"
        for site, status in (("cross-site", 401), ("same-site", 200), ("same-origin", 200), ("none", 200)):
            image = await here.get(WHO, headers={"sec-fetch-site": site})
            assert image.status_code == status, "what a page of another site embeds has no Origin"


async def test_a_page_of_another_site_changes_nothing_without_a_credential(served: Served) -> None:
    page = {"origin": "https://evil.example"}
    async with served.rest() as browser:
        assert (await browser.post(COMMANDS, json={"argv": ["true"]}, headers=page)).status_code == 401
        own = {"origin": served.http}
        assert (await browser.post(COMMANDS, json={"argv": ["true"]}, headers=own)).status_code == 200
    async with served.rest("operator-key") as program:
        assert (await program.post(COMMANDS, json={"argv": ["true"]}, headers=page)).status_code == 200


async def test_a_page_of_another_site_reads_nothing_without_a_credential_but_what_is_open_to_all(
    served: Served,
) -> None:
    page = {"origin": "https://evil.example"}
    async with served.rest() as browser:
        for path in (COMMANDS, "/api/runners", "/v1/agents", "/v1/job/search"):
            assert (await browser.get(path, headers=page)).status_code == 401, path
            assert (await browser.get(path)).status_code == 200, path
        for path in ("/api/agents", "/health"):
            reply = await browser.get(path, headers=page)
            assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, "*")
    async with served.rest("operator-key") as program:
        for path in ("/api/runners", "/v1/agents"):
            reply = await program.get(path, headers=page)
            assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, "*")
        preflight = {**page, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
        reply = await program.options("/api/runners/register", headers=preflight)
        assert "X-API-Key" in reply.headers["access-control-allow-headers"]
        # The native API is not told to browsers unless the settings name their origin.
        assert "access-control-allow-origin" not in (await program.get(COMMANDS, headers=page)).headers


async def test_a_page_of_another_site_gets_no_login_that_nobody_asked_a_password_for(served: Served) -> None:
    async with served.rest() as browser:
        login = {"username": "any", "password": "thing"}
        assert (await browser.post("/v1/auth/login", json=login)).status_code == 200
        page = {"origin": "https://evil.example"}
        assert (await browser.post("/v1/auth/login", json=login, headers=page)).status_code == 401


async def test_a_trusted_proxy_speaks_for_its_clients(tmp_path: Path) -> None:
    async with serve(tmp_path, {"server": {"trusted_proxies": ["127.0.0.1"]}}) as served:
        async with served.rest("operator-key") as rest:
            me = (await rest.get(WHO, headers={"x-forwarded-for": "198.18.0.9"})).json()
        assert (me["name"], me["peer"]) == ("ann", "ipv4:198.18.0.9:0")


async def test_the_audit_says_who_changed_what_from_where(served: Served) -> None:
    async with served.rest("operator-key") as ann:
        ann.headers["x-request-id"] = "my-request"
        command = (await ann.post(COMMANDS, json={"argv": ["true"]})).json()["command"]["jobId"]
        await ann.get(f"{COMMANDS}/{command}")
        assert (await ann.post(f"{COMMANDS}/nothing:cancel")).status_code == 404
    async with served.client() as local:
        await local.auth.create_key("ci", ApiKey.ROLE_VIEWER)
    async with served.rest("viewer-key") as vic:
        assert (await vic.post(COMMANDS, json={"argv": ["true"]})).status_code == 403
    async with served.rest("admin-key") as boss:
        entries = (await boss.get(AUDIT)).json()["entries"]
        only = (await boss.get(AUDIT, params={"principal": "ann"})).json()["entries"]
        page = (await boss.get(AUDIT, params={"pageSize": "1"})).json()
        older = (await boss.get(AUDIT, params={"pageSize": "9", "pageToken": page["nextPageToken"]})).json()
        assert (await boss.get(AUDIT, params={"pageToken": "x"})).status_code == 400
    seen = [(one["principal"], one["role"], one["method"].rpartition("/")[2], one["status"]) for one in entries]
    # Who was not let in is noted too, as far as the credential says who it was.
    assert seen.pop(0) == ("vic", "viewer", "RunCommand", "ROLE_INSUFFICIENT")
    entries = entries[1:]
    assert seen == [
        ("", "", "CreateApiKey", "OK"),
        ("ann", "operator", "CancelCommand", "JOB_NOT_FOUND"),
        ("ann", "operator", "RunCommand", "OK"),
    ]
    assert [one["target"] for one in entries[1:]] == ["nothing", command]
    assert entries[2]["requestId"] == "my-request"
    assert all(one["peer"].startswith("ipv4:127.0.0.1:") for one in entries)
    assert only == entries[1:]
    assert (page["entries"] + older["entries"])[1:] == entries


async def test_the_audit_says_who_logged_in(served: Served) -> None:
    async with served.rest() as rest:
        assert (await rest.post("/v1/auth/login", json={"username": "ann", "password": "x"})).status_code == 200
        (entry,) = (await rest.get(AUDIT)).json()["entries"]
    assert (entry["method"].rpartition("/")[2], entry["target"]) == ("Login", "ann")


async def test_what_was_noted_last_is_written_before_the_end(tmp_path: Path) -> None:
    async with serve(tmp_path) as served, served.rest() as rest:
        assert (await rest.post(COMMANDS, json={"argv": ["true"]})).status_code == 200
    with sqlite3.connect(tmp_path / "data" / "runner.db") as connection:
        assert connection.execute("SELECT count(*) FROM audit_entries").fetchone() == (1,)
    connection.close()


async def test_a_websocket_that_is_refused_is_no_error_of_the_servers(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            f"{served.http.replace('http', 'ws')}/api/v2/commands:exec",
            additional_headers={"authorization": "Bearer nobody"},
            proxy=None,
        ):
            pass
    assert refused.value.response.status_code == 401
    async with served.rest() as client:  # the next request is behind what ended the one before
        assert (await client.get("/health")).status_code == 200
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
