"""Calls to URLs that somebody else gave: only to where the settings let us, by the address that was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from runner_service.domain.errors import InvalidArgument, WebhookForbidden, WebhookUnreachable
from runner_service.domain.webhooks import AllowedHost, address_of, is_never_called
from runner_service.ports.webhooks import Answer, Outside, Target

TIMEOUT_SECONDS = 3.0
"""For a whole call, from the name's lookup to the end of the answer."""
MAX_ANSWER_BYTES = 64 * 1024
_PORTS = {"http": 80, "https": 443}


class Webhooks:
    """Decides where may be called, and calls.

    With an allow-list, what it names and nothing else. Without one, anywhere but link-local addresses, and only while
    nobody but this machine can ask for it (``on_loopback``).
    """

    def __init__(
        self,
        *,
        outside: Outside,
        allowed: Sequence[AllowedHost],
        on_loopback: bool,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._outside = outside
        self._allowed = tuple(allowed)
        self._on_loopback = on_loopback
        self._timeout = timeout_seconds

    async def send(
        self, url: str, body: bytes, *, method: str = "PUT", content_type: str = "application/json"
    ) -> Answer:
        """Sends ``body`` and returns the answer, whatever its status.

        Raises:
            InvalidArgument: It is no http or https URL.
            WebhookForbidden: It is not where this service may call.
            WebhookUnreachable: Its name does not resolve, nobody answers there, or not in time.
        """
        host = _parts(url)[1]
        try:
            async with asyncio.timeout(self._timeout):
                target = await self.target(url)
                return await self._outside.call(
                    target,
                    method=method,
                    body=body,
                    headers={"content-type": content_type, "user-agent": "runner-service"},
                    timeout_seconds=self._timeout,
                )
        except TimeoutError:
            raise WebhookUnreachable(host=host, problem=f"no answer within {self._timeout:g} seconds") from None
        except OSError as error:
            raise WebhookUnreachable(host=host, problem=error.strerror or "the connection failed") from None

    async def target(self, url: str) -> Target:
        """Returns the URL with the address that it stands for now. Raises what `send` does, ``OSError`` among it."""
        secure, host, port, path = _parts(url)
        listed = any(entry.covers(host, port) for entry in self._allowed)
        if self._allowed and not listed and not any(entry.network is not None for entry in self._allowed):
            raise WebhookForbidden(host=host, problem="it is not on the list")
        if not self._allowed and not self._on_loopback:
            raise WebhookForbidden(host=host, problem="other machines can reach this service, and there is no list")
        addresses = [address_of(host)] if address_of(host) else None
        if addresses is None:
            addresses = [address_of(each) for each in await self._outside.resolve(host, port)]
        for address in addresses:
            if address is None or is_never_called(address):
                continue
            if not self._allowed or listed or any(entry.covers(str(address), port) for entry in self._allowed):
                return Target(url=url, secure=secure, host=host, port=port, address=str(address), path=path)
        raise WebhookForbidden(host=host, problem="its address is not one that may be called")


def _parts(url: str) -> tuple[bool, str, int, str]:
    if not _is_text(url):
        raise InvalidArgument(field="url", problem="it has blanks or controls")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidArgument(field="url", problem="it is no URL") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InvalidArgument(field="url", problem="give a URL of http or https")
    if parts.username is not None or parts.password is not None:
        raise InvalidArgument(field="url", problem="give it without user and password")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme == "https", parts.hostname, port or _PORTS[parts.scheme], path


def _is_text(url: str) -> bool:
    """No line break can end up in a request line."""
    return url.isascii() and url.isprintable() and " " not in url
