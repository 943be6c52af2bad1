"""How the programs of the service write their own log: a line an event, for people and for programs.

``2026-11-27 04:18:36,725 INFO runner_service.worker.sync: Registered as build-7. action=registered runner_id=019…``
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from runner_service.domain.errors import StorageFull, StoreUnavailable, Unavailable

_LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
AGAIN_SECONDS = 60.0
"""Between two lines of one kind about what passes by itself."""
_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def write_own_log(level: str, file: Path | None = None) -> None:
    """Has this process write its log to the end of ``file``, else to standard error. ``level``: debug, info, warn or
    error; other words mean info."""
    handler = logging.FileHandler(file) if file else logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    handler.addFilter(_News())
    logging.basicConfig(level=_LEVELS.get(level, logging.INFO), handlers=[handler], force=True)


class _News(logging.Filter):
    """Keeps what passes by itself, as a disk that is full, from filling the log: each loop that meets it would say it
    several times a second, with a traceback. Once a minute and in one line is enough; of a database that is away the
    store says when it went and came back."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, Unavailable | StorageFull):
            return True
        key = (record.name, str(record.msg))
        if isinstance(error, StoreUnavailable) or record.created - self._said.get(key, 0.0) < AGAIN_SECONDS:
            return False
        self._said[key] = record.created
        record.exc_info = None
        record.__dict__.update(reason=error.reason, error=str(error))
        return True


class LineFormatter(logging.Formatter):
    """A sentence, then what its ``extra`` says as ``key=value``. What others named can neither begin a line of its own
    nor tell the terminal anything; only a traceback has further lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _one_line(record.message)
        line = super().formatMessage(record)
        if "action" not in record.__dict__:
            return line  # Of a library, whose attributes are its own affair.
        facts = {name: value for name, value in record.__dict__.items() if name not in _OF_EVERY_RECORD}
        return " ".join([line, *(f"{name}={_word(value)}" for name, value in facts.items())])


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _word(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else json.dumps(text)
