"""A whole server in this process, without a runner, on free ports; and certificates for it."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from runner_client import AsyncClient
from runner_client.channel import Tls
from runner_service import config
from runner_service.app import open_app

KEYS = [
    {"key": "viewer-key", "name": "vic", "role": "viewer"},
    {"key": "operator-key", "name": "ann", "role": "operator"},
    {"key": "admin-key", "name": "boss", "role": "admin"},
]


@dataclass
class Served:
    """Where it serves."""

    http: str
    grpc: str
    data_dir: Path

    def client(self, token: str | None = None, tls: Tls | None = None, *, patience: float = 5.0) -> AsyncClient:
        return AsyncClient(self.grpc, token=token, tls=tls, patience=patience, connect_patience=patience)

    def rest(self, token: str | None = None, **options: Any) -> httpx.AsyncClient:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.http, headers=headers, timeout=60, trust_env=False, **options)


@asynccontextmanager
async def serve(directory: Path, sections: Mapping[str, Any] | None = None) -> AsyncIterator[Served]:
    given: dict[str, Any] = {
        "data_dir": directory / "data",
        "server": {"http": ["127.0.0.1:0"], "grpc": "127.0.0.1:0"},
        "executor": {"local_runner": False},
        "security": {"api_keys": KEYS},
    }
    for name, section in (sections or {}).items():
        given[name] = {**given.get(name, {}), **section}
    settings = config.load(None, given)
    async with open_app(settings) as app:
        scheme = "https" if settings.security.tls.enabled else "http"
        yield Served(f"{scheme}://{app.http_addresses[0]}", app.grpc_address, directory / "data")


class Authority:
    """A certificate authority of a test's own, made with the program `openssl`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self.certificate, self.key = self._files(name)
        self._run("req", "-x509", *_KEY, "-subj", f"/CN={name}", "-out", self.certificate, "-keyout", self.key)

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key."""
        certificate, key = self._files(name)
        request, extensions = self._directory / f"{name}.csr", self._directory / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1\n")
        self._run("req", *_KEY, "-subj", f"/CN={name}", "-out", request, "-keyout", key)
        signing = ("-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "2")
        self._run("x509", "-req", "-in", request, *signing, "-extfile", extensions, "-out", certificate)
        return certificate, key

    def context(self, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Checks a server by this authority, and shows it a certificate."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if shown is not None:
            context.load_cert_chain(*shown)
        return context

    def _files(self, name: str) -> tuple[Path, Path]:
        return self._directory / f"{name}.crt", self._directory / f"{name}.key"

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
