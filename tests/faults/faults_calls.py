"""What clients call, as data: a commit path, how it is taken, and what is seen of it; and how one call is made."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

import httpx

Facts = dict[str, Any]
"""What the preparation found out, for the paths and bodies of the call."""


class Call(NamedTuple):
    """One request; strings in it are filled in from the facts."""

    method: str
    path: str
    body: Any = None
    by: str = ""
    """A client of the lab, with its secret."""
    raw: bytes | None = None
    """A body that is no JSON."""


def post(path: str, by: str = "", **body: Any) -> Call:
    return Call("POST", path, body, by)


def put(path: str, by: str = "", **body: Any) -> Call:
    return Call("PUT", path, body, by)


def get(path: str, by: str = "") -> Call:
    return Call("GET", path, None, by)


def delete(path: str, by: str = "") -> Call:
    return Call("DELETE", path, None, by)


class Repeated(Enum):
    """What who repeats a call gets, when its first answer was lost."""

    SAME = auto()
    """The answer of the first time. Nothing happens a second time."""
    REFUSED = auto()
    """That it cannot be done any more. Nothing happens."""
    ANEW = auto()
    """The call has no request id, and may have its effect each time."""


SAME, REFUSED, ANEW = Repeated


@dataclass(frozen=True)
class Row:
    """One commit path."""

    path: str
    call: Call | None
    """None: nobody calls, the server does it by itself."""
    tables: tuple[str, ...]
    """All that it writes: tables, or expressions of their columns where others write the rest."""
    before: tuple[Call, ...] = ()
    """Calls that make what it needs. Members of their answers become facts."""
    see: Call | None = None
    """What a client reads of it."""
    repeated: Repeated = SAME
    later: float = 0.0
    """Seconds that pass before: for what is done to what is old."""
    at_start: bool = False
    """The server does it when it starts."""
    aged: tuple[float, str] = (0.0, "")
    """Seconds that pass first, and the table in which something else is done about it then."""
    halfway: tuple[str, ...] = ()
    """What the call commits in these tables before this."""
    goes_on: bool = False
    """The next server does the rest by itself."""
    with_worker: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    """Settings."""
    takes_long: bool = False
    """Only for `make faults`."""


class Client:
    """Makes calls, and remembers the facts in their answers."""

    def __init__(self, base: Callable[[], str]) -> None:
        self._base = base
        self.facts: Facts = {}
        self._tokens: dict[str, str] = {}

    async def make(self, call: Call) -> httpx.Response:
        """Raises httpx.HTTPError when there is no answer."""
        headers = {}
        if call.by.startswith("basic "):
            headers["Authorization"] = _basic(call.by.removeprefix("basic "))
        elif call.by:
            headers["Authorization"] = f"Bearer {self._tokens[call.by]}"
            if call.by == "robot":
                headers["Cookie"] = "agent_name=lab-agent"
        async with httpx.AsyncClient(base_url=self._base(), timeout=20, trust_env=False) as http:
            body = None if call.body is None else self._filled(call.body)
            data: dict[str, Any] = {"json": body} if body is not None else {}
            if call.raw is not None:
                data = {"content": call.raw}
                if call.path.endswith(("/artifact", "/attachments")):
                    data = {"files": {"file": ("f", call.raw)}}
            return await http.request(call.method, self._filled(call.path), headers=headers, **data)

    async def prepare(self, row: Row) -> None:
        """Gets the tokens that its calls need, and makes those that come before."""
        for by in {call.by for call in (*row.before, row.call, row.see) if call is not None and call.by}:
            if not by.startswith("basic "):
                token = await self.make(Call("POST", "/v1/oauth2/token", None, f"basic {by}"))
                self._tokens[by] = token.json()["access_token"]
        for call in row.before:
            answer = (await self.make(call)).raise_for_status()
            if answer.headers.get("content-type", "").startswith("application/json"):
                self._learn("", answer.json())

    def _learn(self, name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                self._learn(f"{name}.{key}" if name else key, inner)
        else:
            self.facts[name] = value

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(inner) for key, inner in value.items()}
        if isinstance(value, str):
            for name, fact in self.facts.items():
                value = value.replace(f"{{{name}}}", str(fact))
        return value


def _basic(client_id: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{client_id}-secret-of-the-lab".encode()).decode()
