"""`runner …` as a process beside a server."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

from e2e_server import RUNNER, ServerProcess, environment_of


class CommandLine:
    """Starts the command line client of one server."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [str(RUNNER), *arguments],
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment_of(RUNNER_SERVER=self._server.grpc, **options.pop("env", {})),
            **options,
        )
        self._started.append(process)
        return process

    async def __call__(self, *arguments: str, **options: Any) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        process = self.start(*arguments, **options)
        out, err = await asyncio.to_thread(process.communicate, None, 60)
        return process.returncode, out.decode(), err.decode()

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
