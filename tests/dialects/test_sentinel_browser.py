"""In a real browser: the page of agents, and both documented WebSockets as a page opens them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from browser import chromium
from sct_server import SctServer
from sentinel_client import CONFIG, Sentinel


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, sentinel_server: SctServer) -> Iterator[Any]:
    """The page of agents; whatever a browser complains of fails the test."""
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.goto(f"{sentinel_server.url}/")
    assert page.url == f"{sentinel_server.url}/agents"
    page.wait_for_selector("#connection:text-is('Live')")
    yield page
    assert complaints == []
    context.close()


def row_of(page: Any, agent_id: str) -> Any:
    return page.locator(f"tr[data-id='{agent_id}']")


def test_an_agent_is_made_talked_with_and_stopped_on_the_page(page: Any, sentinel: Sentinel) -> None:
    page.get_by_role("button", name="New agent").click()
    page.get_by_label("Image").select_option("echo:latest")
    page.get_by_label("Name").fill("of the page")
    page.get_by_label("Parameters").fill("no JSON")
    page.get_by_role("button", name="Make it").click()
    page.wait_for_selector("#new .problem:has-text('JSON')")
    page.get_by_label("Parameters").fill('{"delay_seconds": 0}')
    page.get_by_role("button", name="Make it").click()
    page.wait_for_selector("tr:has-text('of the page') .running")

    page.get_by_role("button", name="Chat: of the page").click()
    page.get_by_label("Message").fill("hello <b>there</b>")
    page.keyboard.press("Enter")
    page.wait_for_selector("#said .agent[data-done]")
    assert page.locator("#said .agent").inner_text() == "hello <b>there</b>"
    page.get_by_role("button", name="Close").click()
    # The table is live: the counts come without a reload.
    page.wait_for_selector("tr:has-text('of the page') td:nth-child(5):text-is('1')")

    page.get_by_role("button", name="Log: of the page").click()
    page.wait_for_selector("#log pre:has-text('Agent started')")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Stop: of the page").click()
    page.wait_for_selector("tr:has-text('of the page')", state="detached")


def test_what_others_do_shows_on_the_page(page: Any, sentinel: Sentinel) -> None:
    agent_id = sentinel.create("no/such")["id"]
    row_of(page, agent_id).locator(".error").wait_for()
    assert row_of(page, agent_id).locator(".problem").inner_text() == "there is no image no/such"
    assert row_of(page, agent_id).get_by_role("button", name="Chat").is_disabled()
    sentinel.delete(agent_id)
    row_of(page, agent_id).wait_for(state="detached")


def report(sentinel: Sentinel, status: str, message: str, topic: str = "fix/issue 12") -> None:
    facts = {"agent_id": "coder/1", "agent_name": "Coder <1>", "session_topic": topic, "status": status}
    taken = sentinel.http.post(
        "/webhook/status",
        json={
            **facts,
            "agent_source": "laptop",
            "timestamp": "2026-01-01T00:00:00Z",
            "message": message,
            "ttl_minutes": 10,
        },
    )
    assert taken.status_code == 200, taken.text


def test_agents_that_report_show_on_the_page_as_they_do(page: Any, sentinel: Sentinel) -> None:
    assert page.locator("#no-reports").is_visible()
    report(sentinel, "running", "reading the code")
    row = page.locator("#reported tr:has-text('Coder <1>')")
    row.filter(has_text="reading the code").wait_for()
    assert row.locator(".running").inner_text() == "running"
    report(sentinel, "failed", "no tests", topic="another")
    row.filter(has_text="2 of 2").wait_for()
    # Who comes later sees the same, and the sessions of each.
    page.reload()
    row.filter(has_text="2 of 2").wait_for()
    page.get_by_role("button", name="Sessions: Coder <1>").click()
    sessions = page.locator("#sessions tbody tr")
    sessions.filter(has_text="fix/issue 12").filter(has_text="reading the code").wait_for()
    assert sessions.count() == 2 and "alive" in sessions.filter(has_text="another").inner_text()
    page.get_by_role("button", name="Close").click()


SOCKETS = """
async ([chat, events]) => {
  const open = (url) => new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.frames = [];
    socket.wakers = [];
    socket.onmessage = ({ data }) => { socket.frames.push(JSON.parse(data)); socket.wakers.forEach((wake) => wake()); };
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error(url));
  });
  const until = async (socket, ready) => {
    while (!socket.frames.some(ready)) await new Promise((resolve) => socket.wakers.push(resolve));
  };
  const [talk, hear] = await Promise.all([open(chat), open(events)]);
  talk.send(JSON.stringify({ type: "message", content: "one two three", message_id: "m1" }));
  await until(talk, (frame) => frame.type === "stream_end");
  talk.send(JSON.stringify({ type: "tool_request", tool: "echo", parameters: { a: 1 }, request_id: "q1" }));
  await until(talk, (frame) => frame.type === "tool_result");
  talk.send("no JSON");
  await until(talk, (frame) => frame.type === "error");
  await until(hear, (frame) => frame.event_type === "tool_used");
  const closed = new Promise((resolve) => { talk.onclose = ({ code }) => resolve(code); });
  talk.close(1000);
  hear.close();
  return { chat: talk.frames, events: hear.frames, code: await closed };
}
"""


def test_both_sockets_work_in_a_page(page: Any, sentinel: Sentinel) -> None:
    agent = sentinel.create(parameters={"name": "demo"})
    found = page.evaluate(SOCKETS, [agent["endpoints"]["chat"], agent["endpoints"]["events"]])
    kinds = [frame["type"] for frame in found["chat"]]
    assert kinds == [
        "event", "event", "stream_start", *["stream_chunk"] * 3, "stream_end", "tool_result", "error",
    ]  # fmt: skip
    assert [frame["event_type"] for frame in found["events"]] == ["agent_status", "message_processed", "tool_used"]
    assert found["code"] == 1000
    sentinel.delete(agent["id"])


def test_pages_are_plain_files_with_a_policy(sentinel: Sentinel) -> None:
    root = sentinel.http.get("/")
    assert (root.status_code, root.headers["location"]) == (302, "/agents")
    for path, media_type in (
        ("/agents", "text/html; charset=utf-8"),
        ("/agents/", "text/html; charset=utf-8"),
        ("/agents/agents.js", "text/javascript; charset=utf-8"),
        ("/agents/agents.css", "text/css; charset=utf-8"),
        ("/favicon.ico", "image/svg+xml"),
    ):
        reply = sentinel.http.get(path)
        assert (reply.status_code, reply.headers["content-type"]) == (200, media_type)
        assert "default-src 'self'" in reply.headers["content-security-policy"]
    unknown: httpx.Response = sentinel.http.get("/agents/__init__.py")
    assert unknown.status_code == 404 and set(unknown.json()) == {"error", "message"}


@pytest.mark.slow
def test_a_server_that_wants_a_key_is_given_one_on_the_page(
    browser: Any, make_server: Callable[..., SctServer]
) -> None:
    server = make_server(CONFIG | {"security": {"require_auth": True, "api_keys": ["the-key"]}})
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.url}/agents")
    page.get_by_label("API key").fill("the-key")
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector("#connection:text-is('Live')")
    page.get_by_role("button", name="New agent").click()
    page.get_by_label("Name").fill("locked")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("button", name="Chat: locked").click()
    page.get_by_label("Message").fill("hello")
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector("#said .agent[data-done]")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Stop: locked").click()
    page.wait_for_selector("#nobody:not([hidden])")
    context.close()
