"""``python -m runner_service.worker``."""

import os

# Its core writes a line of its own for every connection that a server closes; what matters is logged by `sync`.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from runner_service.worker.main import main

if __name__ == "__main__":
    raise SystemExit(main())
