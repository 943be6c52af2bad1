"""testflinger.md §1 and §9: tokens, roles, permissions, clients; and what each era is told of a bad token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from testflinger_clients import token_answer
from testflinger_server import NIL, LabServer, basic, queue_name

SECRET = "a-secret-of-the-settings-that-is-long-enough"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """Agents need a token, and the test knows what tokens are signed with."""
    directory = tmp_path_factory.mktemp("guarded")
    with LabServer(directory, anonymous_agents=False, token_secret=SECRET) as server:
        yield server


@pytest.fixture
def http(guarded: LabServer) -> Iterator[httpx.Client]:
    with guarded.http() as client:
        yield client


def as_client(http: httpx.Client, client_id: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_answer(http, client_id)['access_token']}"}


def signed(secret: str = SECRET, **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "exp": now + 600,
        "iat": now,
        "sub": "access_token",
        "permissions": {"client_id": "boss", "role": "admin", "max_priority": {"*": 100}},
    }
    merged = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(merged, secret, algorithm="HS256")


LONG_AGO = int(time.time()) - 5_000
BAD = [
    (signed(exp=LONG_AGO, iat=LONG_AGO), 401, "Token has expired", "Token has expired"),
    (signed(nbf=int(time.time()) + 5_000), 401, "Token not yet valid", "Invalid Token"),
    (signed("another-secret-that-is-also-long-enough"), 403, "Invalid Token signature", "Invalid Token"),
    (signed(iat=None), 403, "Token missing required claim: iat", "Invalid Token"),
    ("no-token", 403, "Unable to decode token", "Invalid Token"),
    (signed(sub="something else"), 403, "Invalid Token", "Invalid Token"),
]


@pytest.mark.parametrize(("token", "status", "today", "seed"), BAD, ids=[case[2] for case in BAD])
def test_a_bad_token_is_told_by_era(http: httpx.Client, token: str, status: int, today: str, seed: str) -> None:
    queue = queue_name()
    bearer = {"Authorization": f"Bearer {token}"}
    for reply in (
        http.get("/v1/agents/data", headers=bearer),
        http.post("/v1/job", json={"job_queue": queue}, headers=bearer),
    ):
        assert (reply.status_code, reply.json()["message"]) == (status, today)
    pop = http.get("/v1/job", params={"queue": queue}, headers={**bearer, "Cookie": "agent_name=x"})
    assert (pop.status_code, pop.json()["message"]) == (status, today)
    # A bare token is looked at only where a permission is needed.
    assert http.post("/v1/job", json={"job_queue": queue}, headers={"Authorization": token}).status_code == 200
    wanting = {"job_queue": queue, "job_priority": 3}
    reply = http.post("/v1/job", json=wanting, headers={"Authorization": token})
    assert reply.json()["message"] == seed
    assert reply.status_code == (401 if "expired" in seed else 403)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "No authorization header specified"),
        ("Basic ABCDEF12345", "No authorization header specified"),
        ("Bearer x", "Client id and key must be specified in authorization header"),
        ("Basic bm9ib2R5Om5vdGhpbmc=", "Invalid client id or client key"),
    ],
)
def test_what_is_no_client_gets_no_token(http: httpx.Client, header: str | None, message: str) -> None:
    reply = http.post("/v1/oauth2/token", headers={} if header is None else {"Authorization": header})
    assert (reply.status_code, reply.json()) == (401, {"detail": {}, "message": message})


def test_a_token_says_what_its_client_may(http: httpx.Client) -> None:
    claims = jwt.decode(
        token_answer(http, "maker")["access_token"], SECRET, algorithms=["HS256"], subject="access_token"
    )
    assert claims["exp"] - claims["iat"] == 600
    assert claims["permissions"] == {
        "client_id": "maker",
        "role": "contributor",
        "max_priority": {"*": 1, "fast": 10},
        "allowed_queues": [],
        "max_reservation_time": {"*": 30_000},
    }
    text = http.post("/v1/oauth2/token", json={}, headers={"Authorization": basic("maker")})
    assert text.headers["content-type"].startswith("text/html")
    assert jwt.decode(text.text, SECRET, algorithms=["HS256"])["permissions"] == claims["permissions"]


@pytest.mark.parametrize("form", ["Bearer {}", "{}"])
@pytest.mark.parametrize(
    ("members", "status", "message"),
    [
        ({"job_queue": "slow", "job_priority": 1}, 200, ""),
        ({"job_queue": "fast", "job_priority": 10}, 200, ""),
        ({"job_queue": "slow", "job_priority": 2}, 403, "Not enough permissions to push to slow with priority 2"),
        ({"job_queue": "fast", "job_priority": 101}, 403, "Not enough permissions to push to fast with priority 101"),
        ({"job_queue": "slow", "reserve_data": {"timeout": "8h"}}, 200, ""),
        (
            {"job_queue": "slow", "reserve_data": {"timeout": 30_001}},
            403,
            "Not enough permissions to push to slow with reservation timeout 30001",
        ),
    ],
)
def test_priority_and_reservations_are_limited(
    http: httpx.Client, form: str, members: dict[str, Any], status: int, message: str
) -> None:
    header = form.format(token_answer(http, "maker")["access_token"])
    reply = http.post("/v1/job", json=members, headers={"Authorization": header})
    assert reply.status_code == status
    assert reply.json().get("message", "") == message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"job_priority": 2}, "Authentication required for setting priority: 2"),
        ({"job_priority": -1}, "Authentication required for setting priority: -1"),
        ({"reserve_data": {"timeout": 30_000}}, "Authentication required for setting timeout: 30000"),
    ],
)
def test_without_a_token_they_need_one(http: httpx.Client, members: dict[str, Any], message: str) -> None:
    reply = http.post("/v1/job", json={"job_queue": "slow", **members})
    assert (reply.status_code, reply.json()) == (401, {"detail": {}, "message": message})
    free = http.post("/v1/job", json={"job_queue": "slow", "job_priority": 0, "reserve_data": {"timeout": "6h"}})
    assert free.status_code == 200


AGENTS_OWN = [
    ("GET", "/v1/job?queue=x"),
    ("POST", f"/v1/result/{NIL}"),
    ("POST", f"/v1/result/{NIL}/output"),
    ("POST", f"/v1/result/{NIL}/log/output"),
    ("POST", f"/v1/job/{NIL}/events"),
    ("POST", "/v1/agents/data/a"),
    ("POST", "/v1/agents/provision_logs/a"),
    ("POST", "/v1/agents/queues"),
    ("POST", "/v1/agents/images"),
]


@pytest.mark.parametrize(("method", "path"), AGENTS_OWN)
def test_where_the_setting_says_so_agents_need_a_token(http: httpx.Client, method: str, path: str) -> None:
    reply = http.request(method, path)
    if path.startswith("/v1/job?"):
        # An agent of the older era would take any body for a job.
        assert (reply.status_code, reply.content) == (403, b"")
    else:
        assert reply.status_code == 403
        assert reply.json()["message"].startswith("Specified action requires role: ")
    stranger = http.request(method, path, headers=as_client(http, "maker"))
    assert stranger.status_code == 403 and "agent" in stranger.json()["message"]


def test_an_agent_with_a_token_needs_its_cookie_to_pop(http: httpx.Client) -> None:
    headers = as_client(http, "robot")
    reply = http.get("/v1/job", params={"queue": "x"}, headers=headers)
    assert (reply.status_code, reply.json()["message"]) == (401, "Agent not identified")
    named = {**headers, "Cookie": "agent_name=named"}
    assert http.get("/v1/job", params={"queue": queue_name()}, headers=named).status_code == 204
    none = http.get("/v1/job", headers=named)
    assert (none.status_code, none.json()["message"]) == (400, "No queue(s) specified in request")


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [
        ("GET", "/v1/client-permissions", "admin, manager"),
        ("PUT", "/v1/client-permissions/x", "admin, manager"),
        ("DELETE", "/v1/client-permissions/x", "admin"),
        ("POST", "/v1/restricted-queues/x", "admin, manager"),
        ("DELETE", "/v1/restricted-queues/x", "admin, manager"),
        ("POST", "/v1/oauth2/revoke", "admin"),
    ],
)
def test_roles_are_demanded_by_name(http: httpx.Client, method: str, path: str, roles: str) -> None:
    for headers in ({}, as_client(http, "maker"), {"Authorization": "Digest x"}):
        reply = http.request(method, path, headers=headers)
        assert (reply.status_code, reply.json()["message"]) == (403, f"Specified action requires role: {roles}")


def test_clients_are_made_changed_used_and_deleted(http: httpx.Client) -> None:
    boss, chief, path = as_client(http, "boss"), as_client(http, "chief"), "/v1/client-permissions/fresh"

    def put(headers: dict[str, str], **body: Any) -> tuple[int, Any]:
        reply = http.put(path, json=body, headers=headers)
        return reply.status_code, reply.text if reply.status_code == 200 else reply.json()["message"]

    assert put(chief, role="contributor") == (400, "Error: Missing client_secret in request body for new client")
    assert put(chief, client_secret="short")[0] == 422
    secret = "a-secret-of-fifteen"
    assert put(chief, client_secret=secret, max_priority={"q": 5}) == (200, "Created permissions for client 'fresh'")
    assert put(chief, max_reservation_time={"*": 99}) == (200, "Updated permissions for client 'fresh'")
    assert http.get(path, headers=chief).json() == {
        "allowed_queues": [],
        "client_id": "fresh",
        "max_priority": {"q": 5},
        "max_reservation_time": {"*": 99},
        "role": "contributor",
    }
    reply = http.get("/v1/oauth2/token", auth=("fresh", secret))
    claims = jwt.decode(reply.text, SECRET, algorithms=["HS256"])
    assert claims["permissions"]["max_priority"] == {"q": 5}
    # A manager can neither make an admin nor touch one.
    assert put(chief, role="admin")[0] == 403
    assert put(boss, role="admin")[0] == 200
    assert put(chief, max_priority={})[0] == 403
    assert http.delete(path, headers=chief).status_code == 403
    assert http.delete(path, headers=boss).text == "OK"
    assert http.delete(path, headers=boss).status_code == 404
    assert http.get("/v1/oauth2/token", auth=("fresh", secret)).status_code == 401


def test_clients_of_the_settings_are_not_changed_by_calls(http: httpx.Client) -> None:
    boss = as_client(http, "boss")
    changed = http.put("/v1/client-permissions/maker", json={"role": "admin"}, headers=boss)
    deleted = http.delete("/v1/client-permissions/boss", headers=boss)
    assert (changed.status_code, changed.json()["message"]) == (
        422,
        "Error: System admin client cannot by modified from API.",
    )
    assert (deleted.status_code, deleted.json()["message"]) == (
        422,
        "Error: System admin client cannot by deleted from API.",
    )


def test_restricting_needs_a_known_client_and_a_known_queue(http: httpx.Client) -> None:
    boss, queue = as_client(http, "boss"), queue_name()
    path = f"/v1/restricted-queues/{queue}"
    messages = [
        http.post(path, json={"client_id": "nobody"}, headers=boss).json()["message"],
        http.post(path, json={"client_id": "maker"}, headers=boss).json()["message"],
        http.get(path, headers=boss).json()["message"],
        http.request("DELETE", path, json={"client_id": "maker"}, headers=boss).json()["message"],
    ]
    assert messages == [
        "Error: Specified client_id does not exist.",
        "Error: No agent is associated with the specified queue.",
        "Error: Restricted queue not found.",
        "Error: Restricted queue not found.",
    ]


def test_a_403_is_json_so_that_nobody_reads_vpn_error(http: httpx.Client, tmp_path: Path) -> None:
    for path in ("/v1/client-permissions", "/v1/oauth2/revoke"):
        reply = http.request("GET" if "client" in path else "POST", path)
        assert reply.headers["content-type"] == "application/json" and reply.json()["message"]
