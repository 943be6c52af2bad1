"""Page sizes, skips, and places in the log of events."""

from __future__ import annotations

from runner_service.domain.errors import InvalidArgument


def size(asked: int, *, default: int, most: int) -> int:
    """0 is the default; more than the most is the most. Raises `InvalidArgument` for a negative one."""
    if asked < 0:
        raise InvalidArgument(field="page_size", problem=f"give a number from 1 to {most}")
    return min(asked, most) or default


def skip(asked: int) -> int:
    """Raises `InvalidArgument` for a negative one."""
    if asked < 0:
        raise InvalidArgument(field="skip", problem="give a number of 0 or more")
    return asked


def event_number(text: str) -> int:
    """The place that a browser's EventSource sends back. Raises `InvalidArgument` for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidArgument(field="last_event_id", problem="give the sequence of an event")
    return int(text)


def place(token: str) -> int:
    """The place that a page token of numbers stands for; 0 for none. Raises `InvalidArgument` for any other."""
    return number("page_token", token)


def number(field: str, text: str) -> int:
    """A whole number in decimal digits; 0 for none. Raises `InvalidArgument` for anything else."""
    if text and not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidArgument(field=field, problem="it is not one of this service")
    return int(text or 0)
