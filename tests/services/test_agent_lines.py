"""The line protocol of agents, and how their output is cut into lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner_service.domain.agent_lines import (
    MAX_LINE_BYTES,
    AgentLine,
    LineKind,
    MessageRef,
    ToolRef,
    read_line,
    read_message_ref,
    read_tool_ref,
    write_message,
)
from runner_service.domain.logs import LogPosition, LogRecord, LogStream
from runner_service.services.agents.logs import level_of
from runner_service.services.agents.output import LineSplitter


def line(**members: Any) -> AgentLine | None:
    return read_line(json.dumps(members).encode())


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"type": "chunk", "message_id": "m", "content": ""}, AgentLine(kind=LineKind.CHUNK, subject="m")),
        ({"type": "end", "message_id": "m"}, AgentLine(kind=LineKind.END, subject="m")),
        (
            {"type": "end", "message_id": "m", "content": "x", "tools_used": ["a"], "more": 1},
            AgentLine(kind=LineKind.END, subject="m", content="x", tools_used=("a",)),
        ),
        (
            {"type": "tool_result", "request_id": "q", "result": None},
            AgentLine(kind=LineKind.TOOL_RESULT, subject="q"),
        ),
        (
            {"type": "tool_result", "request_id": "q", "error": "no"},
            AgentLine(kind=LineKind.ERROR, subject="q", content="no"),
        ),
        ({"type": "error", "error": "no"}, AgentLine(kind=LineKind.ERROR, content="no")),
        (
            {"type": "event", "event_type": "thinking_hard", "data": {"n": 1}},
            AgentLine(kind=LineKind.EVENT, event_type="thinking_hard", data={"n": 1}),
        ),
        ({"type": "usage", "tokens": 7}, AgentLine(kind=LineKind.USAGE, tokens=7)),
        (
            {"type": "log", "level": "warning", "message": "m"},
            AgentLine(kind=LineKind.LOG, level="warning", content="m"),
        ),
    ],
)
def test_lines_of_the_protocol_are_understood(members: dict[str, Any], expected: AgentLine) -> None:
    assert line(**members) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"hello",
        b"[1]",
        b'"chunk"',
        b"\xff\xfe",
        b'{"type": "dance"}',
        b'{"type": ["chunk"]}',
        b'{"type": "chunk", "message_id": "m"}',
        b'{"type": "chunk", "message_id": 1, "content": "x"}',
        b'{"type": "end", "message_id": "m", "tools_used": 5}',
        b'{"type": "usage", "tokens": -1}',
        b'{"type": "usage", "tokens": true}',
        b'{"type": "usage", "tokens": 1.5}',
        b'{"type": "event", "event_type": "agent_status"}',
        b'{"type": "event", "event_type": "Not A Word"}',
        b'{"type": "event", "event_type": "x", "data": []}',
        b'{"type": "log", "level": "loud", "message": "m"}',
        b"[" * 100_000,
        b'{"type": "chunk", "message_id": "m", "content": "' + b"x" * MAX_LINE_BYTES + b'"}',
    ],
    ids=lambda text: text[:30].decode(errors="replace"),
)
def test_everything_else_is_nonsense_and_no_error(text: bytes) -> None:
    found = read_line(text)
    assert found is not None and found.kind is LineKind.NONSENSE and len(found.content) <= 2000


def test_an_empty_line_is_nothing() -> None:
    assert read_line(b" \r") is None


@pytest.mark.parametrize("message_id", ["m1", "a:b:c", "", "ü \n"])
def test_references_survive_the_wire(message_id: str) -> None:
    ref = MessageRef("r", message_id)
    sent = json.loads(write_message(ref, chat_id="c", content="ü\n"))
    assert read_message_ref(sent["message_id"]) == ref and sent["content"] == "ü\n"
    tool = ToolRef("u", "a:b %", message_id)
    assert read_tool_ref(tool.encode()) == tool


def test_a_written_line_is_one_line_of_ascii() -> None:
    written = write_message(MessageRef("r", "m"), chat_id="c", content="a\nb\u2028ü")
    assert written.count(b"\n") == 1 and written.isascii()


def records(*texts: bytes, first: int = 0) -> list[LogRecord]:
    return [LogRecord(first + number, 5, LogStream.STDOUT, text) for number, text in enumerate(texts)]


def cut(splitter: LineSplitter, found: list[LogRecord], attempt: str = "a") -> list[tuple[bytes, LogPosition]]:
    return [(each.data, each.behind) for record in found for each in splitter.feed(attempt, record)]


def test_lines_are_cut_wherever_records_are() -> None:
    lines = cut(LineSplitter(LogPosition("")), records(b"one\ntw", b"o", b"\n\nthree\n", b"rest"))
    assert lines == [
        (b"one", LogPosition("a", 0, 4)),
        (b"two", LogPosition("a", 2, 1)),
        (b"", LogPosition("a", 2, 2)),
        (b"three", LogPosition("a", 2, 8)),
    ]


def test_a_reader_that_resumes_is_given_the_rest_and_knows_its_place() -> None:
    # As LogReader hands out a record from a cursor within it.
    rest = LogRecord(3, 5, LogStream.STDOUT, b"two\nthree\n")
    assert cut(LineSplitter(LogPosition("a", 3, 4)), [rest]) == [
        (b"two", LogPosition("a", 3, 8)),
        (b"three", LogPosition("a", 3, 14)),
    ]


def test_what_began_before_a_gap_or_another_attempt_does_not_end_behind_it() -> None:
    splitter = LineSplitter(LogPosition(""))
    gap = LogRecord(1, 5, LogStream.GAP, b"", 100)
    assert [data for data, _ in cut(splitter, [*records(b"half"), gap, *records(b"other\n", first=2)])] == [b"other"]
    cut(splitter, records(b"half", first=3))
    assert cut(splitter, records(b"new\n"), "b") == [(b"new", LogPosition("b", 0, 4))]


def test_a_line_without_end_is_held_within_bounds() -> None:
    splitter = LineSplitter(LogPosition(""))
    found = cut(splitter, records(*[b"x" * 65_536] * 40, b"\nshort\n"))
    assert len(found[0][0]) == MAX_LINE_BYTES + 1 and found[1][0] == b"short"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("WARNING: hot", "warning"),
        ("[error] no", "error"),
        ("critical mass", "error"),
        ("debugging", "info"),
        ("hello", "info"),
        ("warn: x", "warning"),
    ],
)
def test_the_level_is_what_a_line_begins_with(text: str, level: str) -> None:
    assert level_of(text) == level
