"""Gets the image of a container there, as the job's pull policy says."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from runner_service.worker.supervisor.container.engine import Engine, EngineAway, EngineRefused, quoted
from runner_service.worker.supervisor.container.failures import Failed, failure_of
from runner_service.worker.supervisor.container.order import ALWAYS, NEVER, Order, registry_of, split_image

SILENCE_SECONDS = 300.0
"""A pull that says nothing for so long hangs."""
_NOT_FOR_US = ("manifest unknown", "does not exist", "no basic auth credentials", "unauthorized", "access denied")
"""What is told as a fault of the server, or in the middle of a pull, and no second try can change."""


def ensure(engine: Engine, order: Order, look: Callable[[int], None]) -> Any:
    """The configuration of the image, after a pull if need be. ``look`` waits until the engine says more.

    Raises:
        Failed: There is no such image, or it cannot be had now.
        EngineAway
    """
    found = None if order.pull == ALWAYS else _inspect(engine, order.image)
    if found is None:
        if order.pull == NEVER:
            raise Failed(
                "REFUSED", "IMAGE", f"the image {order.image} is not on this runner, and the job forbids to pull it"
            )
        _pull(engine, order, look)
        found = _inspect(engine, order.image)
    if found is None:
        raise Failed("INFRASTRUCTURE", "prepare", f"the image {order.image} is not there after it was pulled")
    return found.get("Config") or {}


def _inspect(engine: Engine, image: str) -> Any:
    try:
        return engine.call("GET", f"/images/{quoted(image)}/json")
    except EngineRefused as error:
        if error.status == 404:
            return None
        if error.status == 400:
            raise Failed("REFUSED", "IMAGE", f"{image}: {error.message}") from None
        raise


def _pull(engine: Engine, order: Order, look: Callable[[int], None]) -> None:
    repository, tag = split_image(order.image)
    path = f"/images/create?fromImage={quoted(repository)}&tag={quoted(tag)}"
    auth = _auth(order)
    headers = {"X-Registry-Auth": auth} if auth else {}
    try:
        for line in engine.lines(path, headers, look=look, timeout=SILENCE_SECONDS):
            if "error" in line:
                raise EngineRefused(500, line["error"])
    except EngineRefused as error:
        if error.status in (400, 401, 403, 404) or any(words in error.message for words in _NOT_FOR_US):
            raise Failed("REFUSED", "IMAGE", f"the image {order.image} cannot be pulled: {error.message}") from None
        message = f"the image {order.image} cannot be pulled now: {error.message}"
        raise Failed("INFRASTRUCTURE", "prepare", message) from None
    except EngineAway as error:
        raise failure_of(error, "prepare") from None


def _auth(order: Order) -> str:
    """The credentials for the image's registry, from docker's own file; empty: none."""
    try:
        with open(order.auth) as file:  # noqa: PTH123
            entry = json.load(file)["auths"][registry_of(order.image)]["auth"]
        from base64 import b64decode

        user, _, password = b64decode(entry).decode().partition(":")
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    fields = {"username": user, "password": password, "serveraddress": registry_of(order.image)}
    return urlsafe_b64encode(json.dumps(fields).encode()).decode()
