"""Ports for programs that must be told one: below those that dialling sockets get, one process its own."""

from __future__ import annotations

import itertools
import os
import random
import socket

_FIRST, _LAST = 20_000, 32_000
_SHARES = 16
_own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
_share = list(range(_FIRST, _LAST))[_own::_SHARES]
random.shuffle(_share)
_next = itertools.cycle(_share)


def free_port() -> int:
    """A port that nobody has now, and that no other test of this run is given before all others were."""
    for port in _next:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("a cycle ended")
