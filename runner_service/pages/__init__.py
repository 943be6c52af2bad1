"""Web pages that come with the service: plain files, nothing to build."""

from __future__ import annotations

from importlib.resources import files

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def load_pages() -> dict[str, tuple[str, bytes]]:
    """Every file by its name, with its media type."""
    return {
        entry.name: (_TYPES[suffix], entry.read_bytes())
        for entry in files(__package__).iterdir()
        if (suffix := entry.name[entry.name.rfind(".") :]) in _TYPES
    }
