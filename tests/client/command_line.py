"""The command line as a process, as the installed script would start it."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from scripted_server import ScriptedServer


@dataclass
class Ended:
    """A command line that has ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def err(self) -> str:
        return self.stderr.decode()


class CommandLine:
    """Starts `runner` against the scripted server."""

    def __init__(self, server: ScriptedServer) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "RUNNER_SERVER": server.target,
            "PYTHONWARNINGS": "error",
            "COLUMNS": "120",
        }
        self.started: list[asyncio.subprocess.Process] = []

    async def start(self, *arguments: str, **options: object) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        environment = self._environment | options.pop("env", {})  # type: ignore[operator]
        streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe} | options
        program = "import sys; from runner_client.cli import main; sys.exit(main())"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, *arguments, env=environment, **streams
        )
        self.started.append(process)
        return process

    async def __call__(self, *arguments: str, stdin: bytes | None = None, **options: object) -> Ended:
        if stdin is not None:
            options["stdin"] = asyncio.subprocess.PIPE
        process = await self.start(*arguments, **options)
        return await self.end(process, stdin)

    async def end(self, process: asyncio.subprocess.Process, stdin: bytes | None = None) -> Ended:
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate(stdin)
        assert process.returncode is not None
        return Ended(process.returncode, stdout or b"", stderr or b"")
