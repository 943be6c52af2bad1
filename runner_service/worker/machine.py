"""What a worker says about its machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path


def machine_labels(declared: Mapping[str, str]) -> dict[str, str]:
    """The declared labels, and ``os``, ``arch`` and ``hostname`` as they are."""
    return {
        **declared,
        "os": platform.system().lower(),
        "arch": platform.machine().lower(),
        "hostname": platform.node(),
    }


def boot_id() -> str:
    """The kernel's boot id; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
