"""``python -I -S …/supervisor/container/__main__.py``: the pilot. File 3 is its channel, see `protocol`."""

from __future__ import annotations

import os
import signal
import sys

if not __package__:  # Started by its path, so that nothing else need be importable.
    sys.path.insert(0, os.path.abspath(f"{__file__}/../../../../.."))  # noqa: PTH100

from runner_service.worker.supervisor.container.pilot import Pilot
from runner_service.worker.supervisor.container.protocol import FD, Channel, SupervisorGone


def main() -> int:
    # Signals for the job come over the channel; those for this process's group are none of its business.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(FD)
    try:
        plan = channel.receive()
    except SupervisorGone:
        return 0
    pilot = Pilot(channel, plan)
    if plan["remove_only"]:
        pilot.remove()
    else:
        pilot.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
