"""The page that shows the OpenAPI document: static files that come with this package, and nothing from elsewhere."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable
from importlib.resources import files

from gateway.http_reply import HttpReply

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILES = ("docs.css", "docs.js", "favicon.svg")
# The page runs its own script and asks this server, and nobody else.
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'"


def page(path: str, openapi_path: str) -> dict[str, Callable[[], HttpReply]]:
    """The replies that make up the page at ``path``, such as ``/docs``, by their paths."""
    names = {path: "index.html", **{f"{path}/{name}": name for name in _FILES}}
    # All names are relative to the page's own, so that it also works below a prefix of some proxy.
    base, document = path.rpartition("/")[2], posixpath.relpath(openapi_path, posixpath.dirname(path))
    return {
        where: functools.cache(functools.partial(_file, name, base.encode(), document.encode()))
        for where, name in names.items()
    }


def _file(name: str, base: bytes, document: bytes) -> HttpReply:
    body = files("gateway.openapi").joinpath("page", name).read_bytes()
    if name != "favicon.svg":
        body = body.replace(b'"docs/', b'"' + base + b"/").replace(b'"openapi.json"', b'"' + document + b'"')
    headers = [
        ("content-type", f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"),
        ("content-security-policy", _POLICY),
        ("cache-control", "no-cache"),
    ]
    return HttpReply(200, body, headers)
