"""How the members of an object set the fields of a message: a closure for each shape of field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from gateway.codec.errors import Refused
from gateway.codec.scalars_in import Decode
from gateway.codec.well_known_in import Into

Slot = int | str  # what may be set once: a field (by number) or a oneof (by name)
# A member of an object: (slot or None where nothing can be set twice, attribute, type of values that are set as they
# are, whether null is a value, setter for all others)
Entry = tuple[Slot | None, str, type | None, bool, Into]


def object_of(members: dict[str, Entry], ignore_unknown: bool) -> Into:
    """Any object: looks every name up, refuses unknown ones and what is set twice."""

    def into(message: Any, value: Any) -> None:
        if type(value) is not dict:
            raise Refused("an object", value)
        used = set()
        for name, item in value.items():
            member = members.get(name)
            if member is None:
                if ignore_unknown:
                    continue
                raise Refused("no such field", unknown=True).under(_printable(name))
            slot, attribute, as_is, null_is_value, put = member
            if item is None and not null_is_value:
                continue
            if slot is not None:
                if slot in used:
                    raise twice(slot).under(name)
                used.add(slot)
            if type(item) is as_is:
                setattr(message, attribute, item)
                continue
            try:
                put(message, item)
            except Refused as refused:
                raise refused.under(name) from None

    return into


def twice(slot: Slot) -> Refused:
    """The refusal of a second value for one place."""
    if isinstance(slot, str):
        return Refused(f'another member of the oneof "{slot}" is set too', bare=True)
    return Refused("given twice, in both spellings of its name", bare=True)


def _printable(name: str) -> str:
    return name if len(name) <= 64 else name[:64] + "…"


def transparent(members: dict[str, Entry], name: str) -> Into:
    """A message that is written as its only field."""

    def into(message: Any, value: Any) -> None:
        members[name][-1](message, value)

    return into


def scalar(name: str, decode: Decode) -> Into:
    """A single scalar."""

    def put(message: Any, value: Any) -> None:
        setattr(message, name, decode(value))

    return put


def scalars(name: str, decode: Decode, as_is: type | None) -> Into:
    """A list of scalars; ``as_is`` is the type of those that are taken unseen."""

    def put(message: Any, value: Any) -> None:
        if type(value) is not list:
            raise Refused("a list", value)
        if as_is is not None and {as_is}.issuperset(map(type, value)):
            getattr(message, name).extend(value)
            return
        index = 0
        decoded = []
        try:
            for index, item in enumerate(value):  # noqa: B007 (read in the handler)
                decoded.append(decode(item))
        except Refused as refused:
            raise refused.under(f"[{index}]") from None
        getattr(message, name).extend(decoded)

    return put


def message_of(name: str, into: Into) -> Into:
    """A single message."""

    def put(message: Any, value: Any) -> None:
        inner = getattr(message, name)
        inner.SetInParent()
        into(inner, value)

    return put


def messages(name: str, into: Into, null_is_value: bool) -> Into:
    """A list of messages."""

    def put(message: Any, value: Any) -> None:
        if type(value) is not list:
            raise Refused("a list", value)
        add: Callable[[], Any] = getattr(message, name).add
        for index, item in enumerate(value):
            try:
                if item is None and not null_is_value:
                    raise Refused("a value", None)
                into(add(), item)
            except Refused as refused:
                raise refused.under(f"[{index}]") from None

    return put


def scalar_map(name: str, key: Decode | None, decode: Decode) -> Into:
    """A map of scalars."""

    def put(message: Any, value: Any) -> None:
        if type(value) is not dict:
            raise Refused("an object", value)
        entries = getattr(message, name)
        for text, item in value.items():
            try:
                entries[text if key is None else key(text)] = decode(item)
            except Refused as refused:
                raise refused.under(_subscript(text)) from None

    return put


def message_map(name: str, key: Decode | None, into: Into, null_is_value: bool) -> Into:
    """A map of messages."""

    def put(message: Any, value: Any) -> None:
        if type(value) is not dict:
            raise Refused("an object", value)
        entries = getattr(message, name)
        for text, item in value.items():
            try:
                if item is None and not null_is_value:
                    raise Refused("a value", None)
                entry = entries[text if key is None else key(text)]
                into(entry, item)
            except Refused as refused:
                raise refused.under(_subscript(text)) from None

    return put


def _subscript(key: str) -> str:
    return f"[{orjson.dumps(_printable(key)).decode()}]"
