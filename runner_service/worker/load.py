"""How busy the machine is, and what it has: measured, never made up."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from runner.v1 import dispatch_service_pb2 as dispatch
from runner.v1 import runner_pb2 as runners

_LEAST_SECONDS = 1.0
"""Between two measures: over less, a processor's load is chance."""
_GIB = float(1 << 30)


class Meter:
    """Measures at most once a second; in between the last measure holds."""

    def __init__(self, directory: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory = str(directory)
        self._monotonic = monotonic
        self._measured = -_LEAST_SECONDS
        self._load = dispatch.MachineLoad()
        psutil.cpu_percent()  # The first call begins the first interval.

    def load(self) -> dispatch.MachineLoad:
        """Processors since the measure before, memory and disk now; percent."""
        now = self._monotonic()
        if now - self._measured >= _LEAST_SECONDS:
            self._measured = now
            self._load = dispatch.MachineLoad(
                cpu_percent=psutil.cpu_percent(),
                memory_percent=psutil.virtual_memory().percent,
                disk_percent=psutil.disk_usage(self._directory).percent,
            )
        return self._load


def resources(directory: Path) -> runners.RunnerResources:
    """What the machine has."""
    return runners.RunnerResources(
        cpu_cores=psutil.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / _GIB, 2),
        disk_gb=round(psutil.disk_usage(str(directory)).total / _GIB, 2),
    )


def free_gb(directory: Path) -> tuple[float, float]:
    """Memory and disk that are available now."""
    memory = psutil.virtual_memory().available / _GIB
    return round(memory, 2), round(psutil.disk_usage(str(directory)).free / _GIB, 2)
