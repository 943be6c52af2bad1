"""The route table: precedence, backtracking, decoding, verbs, conflicts."""

from __future__ import annotations

import itertools

import pytest
from checklist import covers

from gateway.escapes import EscapeError
from gateway.routes import Entry, RouteConflict, RouteTable
from gateway.template import parse_template

ROUTES = [
    "GET /jobs/{id}",
    "GET /jobs/search",
    "POST /jobs/register",
    "GET /jobs/*/logs",
    "GET /jobs/search/{word}",
    "GET /d/{rest=**}",
    "GET /d/{rest=**}/tail",
    "GET /d/exact/{one}",
    "POST /jobs/{id}:cancel",
    "GET /times/{at}",
    "GET /m/{name=a/*/b/*}",
    "GET /t/{rest=**}/{x=y}/z",
    "PURGE /jobs/{id}",
    "* /any/{x}",
    "GET /any/x",
    "GET /",
    "GET /lit%20eral",
    "GET /both/{a}:go",
    "GET /both/{a}",
]


def table(routes: list[str] = ROUTES, *, slash: bool = False) -> RouteTable[str]:
    made: RouteTable[str] = RouteTable()
    for route in routes:
        method, _, path = route.partition(" ")
        made.add(method, Entry(route, parse_template(path), name=route, trailing_slash=slash))
    return made


def ask(made: RouteTable[str], method: str, path: str) -> tuple[str, dict[str, str]] | None:
    match = made.find(method, path)
    if match is None:
        return None
    entry = match.entries[0]
    return entry.target, {".".join(key): value for key, value in match.variables(entry).items()}


@covers("precedence", "double-star-empty", "custom-verb", "percent-decoding")
@pytest.mark.parametrize(
    ("request_line", "route", "variables", "why"),
    [
        ("GET /jobs/7", "GET /jobs/{id}", {"id": "7"}, "a variable"),
        ("GET /jobs/search", "GET /jobs/search", {}, "a literal beats a variable"),
        ("GET /jobs/register", "GET /jobs/{id}", {"id": "register"}, "per method: the literal knows only POST"),
        ("GET /jobs/search/logs", "GET /jobs/search/{word}", {"word": "logs"}, "the first literal decides"),
        ("GET /jobs/x/logs", "GET /jobs/*/logs", {}, "backtracking into the wildcard"),
        ("PURGE /jobs/1", "PURGE /jobs/{id}", {"id": "1"}, "a custom method"),
        ("GET /", "GET /", {}, "the root"),
        ("GET /d", "GET /d/{rest=**}", {"rest": ""}, "`**` covers no segment too"),
        ("GET /d/a/b", "GET /d/{rest=**}", {"rest": "a/b"}, "`**` covers several"),
        ("GET /d/a/b/tail", "GET /d/{rest=**}/tail", {"rest": "a/b"}, "a literal tail"),
        ("GET /d/tail", "GET /d/{rest=**}/tail", {"rest": ""}, "a literal tail after nothing"),
        ("GET /d/exact/1", "GET /d/exact/{one}", {"one": "1"}, "`*` beats `**`"),
        ("GET /d/exact/1/2", "GET /d/{rest=**}", {"rest": "exact/1/2"}, "back to `**`"),
        ("GET /t/1/2/y/z", "GET /t/{rest=**}/{x=y}/z", {"rest": "1/2", "x": "y"}, "a variable after `**`"),
        ("GET /m/a/1/b/2", "GET /m/{name=a/*/b/*}", {"name": "a/1/b/2"}, "several segments"),
        ("POST /jobs/7:cancel", "POST /jobs/{id}:cancel", {"id": "7"}, "a verb"),
        ("GET /jobs/7:cancel", "GET /jobs/{id}", {"id": "7:cancel"}, "the verb is POST only"),
        ("GET /jobs/7:other", "GET /jobs/{id}", {"id": "7:other"}, "no registered verb"),
        ("GET /times/10:30", "GET /times/{at}", {"at": "10:30"}, "a time stays whole"),
        ("GET /both/x:go", "GET /both/{a}:go", {"a": "x"}, "the verb first"),
        ("GET /both/x%3Ago", "GET /both/{a}", {"a": "x:go"}, "an escaped colon is never the verb's"),
        ("GET /both/a:b:go", "GET /both/{a}:go", {"a": "a:b"}, "the last colon splits"),
        ("GET /jobs/a%2520b", "GET /jobs/{id}", {"id": "a%20b"}, "decoded once"),
        ("GET /jobs/a%2Fb", "GET /jobs/{id}", {"id": "a/b"}, "an escaped slash stays in its segment"),
        ("GET /d/a%2Fb/c%20d", "GET /d/{rest=**}", {"rest": "a%2Fb/c d"}, "and is kept among several"),
        ("GET /d/a%252Fb", "GET /d/{rest=**}", {"rest": "a%2Fb"}, "decoded once there too"),
        ("GET /jobs/%C3%A9", "GET /jobs/{id}", {"id": "é"}, "UTF-8"),
        ("GET /jobs/a+b", "GET /jobs/{id}", {"id": "a+b"}, "a plus is a plus in paths"),
        ("GET /lit%20eral", "GET /lit%20eral", {}, "an escaped literal"),
        ("GET /j%6Fbs/search", "GET /jobs/search", {}, "any character may be escaped"),
        ("GET /any/x", "GET /any/x", {}, "a named method beats any method"),
        ("PUT /any/x", "* /any/{x}", {"x": "x"}, "any method"),
    ],
)
def test_paths_find_their_route(request_line: str, route: str, variables: dict[str, str], why: str) -> None:
    method, _, path = request_line.partition(" ")
    assert ask(table(), method, path) == (route, variables), why


def test_what_is_found_at_once_is_what_is_found_by_search() -> None:
    """A path with an escape is always searched for, and an escaped letter changes nothing."""
    made = table([*ROUTES, "GET /{top}", "GET /{one}/{two}", "GET /{one}/x", "POST /d/{x}:go", "GET /d:go"])
    words = ["jobs", "search", "register", "d", "exact", "any", "x", "both:go", "7:go", "7:other", ""]
    paths = [f"/{'/'.join(each)}" for count in (1, 2, 3) for each in itertools.product(words, repeat=count)]
    found = 0
    for method, path in itertools.product(("GET", "POST", "PURGE", "PUT"), paths):
        if path[1:2].isalpha():
            escaped = f"/%{ord(path[1]):x}{path[2:]}"
            answer = ask(made, method, path)
            assert answer == ask(made, method, escaped), (method, path)
            found += answer is not None
    assert found > 200


@covers("empty-segments", "trailing-slash")
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/jobs", "too short"),
        ("/jobs/", "a trailing slash is an empty segment"),
        ("//jobs", "an empty segment is no part of the root"),
        ("/jobs//logs", "an empty segment fills no variable"),
        ("/d/a//b", "nor is it covered by `**`"),
        ("/d/", "nor at the end"),
        ("/m/a/1/b", "not all segments"),
        ("/m/a//b/2", "an empty segment inside a variable"),
        ("jobs/7", "no slash"),
        ("", "nothing"),
        ("/JOBS/7", "literals are case-sensitive"),
    ],
)
def test_other_paths_find_nothing(path: str, why: str) -> None:
    assert ask(table(), "GET", path) is None, why
    assert table().methods(path) == [], why


def test_an_optional_trailing_slash_is_served_without_redirect() -> None:
    made = table(["GET /jobs/{id}", "GET /jobs", "POST /jobs/{id}:cancel"], slash=True)
    assert ask(made, "GET", "/jobs/") == ("GET /jobs", {})
    assert ask(made, "GET", "/jobs/7/") == ("GET /jobs/{id}", {"id": "7"})
    assert ask(made, "POST", "/jobs/7:cancel/") == ("POST /jobs/{id}:cancel", {"id": "7"})
    assert ask(made, "GET", "/jobs//") is None
    assert made.methods("/jobs/") == ["GET", "HEAD"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/jobs/register", ["GET", "HEAD", "POST", "PURGE"]),
        ("/jobs/7:cancel", ["GET", "HEAD", "POST", "PURGE"]),
        ("/any/y", ["*"]),
        ("/nowhere", []),
        ("/jobs/%zz", []),
    ],
)
def test_methods_of_a_path_span_all_routes(path: str, methods: list[str]) -> None:
    assert table().methods(path) == methods


@pytest.mark.parametrize("path", ["/jobs/%zz", "/jobs/%", "/jobs/%f", "/jobs/%ff", "/jobs/%C3", "/jobs/\xff"])
def test_invalid_escapes_and_utf8_are_errors(path: str) -> None:
    with pytest.raises(EscapeError):
        table().find("GET", path)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("GET /a/{x}", "GET /a/{y}"),
        ("GET /a/{x=b/*}", "GET /a/b/{y}"),
        ("GET /a/{x=**}", "GET /a/**"),
        ("GET /a:go", "GET /a:go"),
    ],
)
def test_two_claims_to_one_route_name_both(one: str, two: str) -> None:
    with pytest.raises(RouteConflict) as error:
        table([one, two])
    assert one in str(error.value)
    assert two in str(error.value)


def test_conditions_keep_routes_apart_and_come_first() -> None:
    made: RouteTable[str] = RouteTable()
    template = parse_template("/logs")
    made.add("GET", Entry("plain", template, name="Plain"))
    made.add("GET", Entry("followed", template, name="Followed", condition="follow"))
    match = made.find("GET", "/logs")
    assert match is not None
    assert [entry.target for entry in match.entries] == ["followed", "plain"]
    with pytest.raises(RouteConflict):
        made.add("GET", Entry("again", template, name="Again", condition="follow"))
