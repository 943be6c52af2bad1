"""Health checks: made when the server asks, of what jobs may need. Each says what it found or why it failed."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.v1 import dispatch_service_pb2 as dispatch
from runner_service.domain.containers import CONTAINER_LABEL
from runner_service.domain.runner_health import (
    DISK_SPACE,
    DOCKER,
    KUBERNETES,
    LEAST_DISK_GB,
    LEAST_MEMORY_GB,
    MEMORY,
)
from runner_service.worker.load import free_gb

TIMEOUT_SECONDS = 2.0
"""Of one check; all are made at the same time."""
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class CheckFailed(Exception):
    """Says why."""


async def run_checks(directory: Path) -> dict[str, dispatch.MachineCheck]:
    """All checks by name. Never raises, and is over soon after `TIMEOUT_SECONDS`."""
    checks: Mapping[str, Callable[[], dispatch.MachineCheck]] = {
        DISK_SPACE: lambda: _space(free_gb(directory)[1], LEAST_DISK_GB, "of disk"),
        MEMORY: lambda: _space(free_gb(directory)[0], LEAST_MEMORY_GB, "of memory"),
        DOCKER: lambda: dispatch.MachineCheck(passed=True, version=docker_version()),
        KUBERNETES: lambda: dispatch.MachineCheck(passed=True, version=kubernetes_version()),
    }
    found = await asyncio.gather(*(_one(check) for check in checks.values()))
    return dict(zip(checks, found, strict=True))


async def _one(check: Callable[[], dispatch.MachineCheck]) -> dispatch.MachineCheck:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS + 0.5):
            return await asyncio.to_thread(check)
    except TimeoutError:
        return dispatch.MachineCheck(message=f"no answer within {TIMEOUT_SECONDS:g} s")
    except CheckFailed as error:
        return dispatch.MachineCheck(message=str(error))
    except Exception as error:  # Whatever a daemon answers, it is a check that failed.
        return dispatch.MachineCheck(message=f"{type(error).__name__}: {error}")


def _space(free: float, least: float, what: str) -> dispatch.MachineCheck:
    if free < least:
        raise CheckFailed(f"only {free:g} GiB {what} are left")
    return dispatch.MachineCheck(passed=True, available_gb=free)


def docker_version() -> str:
    """The version of the docker daemon that ``DOCKER_HOST`` names, or the usual one. Raises `CheckFailed`."""
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if host.startswith("unix://"):
        path = host.removeprefix("unix://")
        if not Path(path).exists():
            raise CheckFailed(f"there is no docker daemon at {path}")
        connection: http.client.HTTPConnection = _UnixConnection(path)
    else:
        where = urlsplit(host.replace("tcp://", "http://", 1))
        connection = http.client.HTTPConnection(where.hostname or "localhost", where.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/version", headers={"Host": "docker"})
        return str(_answer(connection.getresponse())["Version"])
    except (OSError, http.client.HTTPException, KeyError) as error:
        raise CheckFailed(f"the docker daemon at {host} does not answer: {error}") from None
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(self._path)


def _answer(reply: Any) -> dict[str, Any]:
    if reply.status != 200:
        raise CheckFailed(f"it answers with status {reply.status}")
    value = json.loads(reply.read(1 << 20))
    if not isinstance(value, dict):
        raise CheckFailed("its answer makes no sense")
    return value


def kubernetes_version() -> str:
    """The version of the API server, in a cluster or of the kubeconfig. Raises `CheckFailed`."""
    url, token, context = _cluster()
    request = urllib.request.Request(f"{url}/version")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as reply:
            return str(_answer(reply)["gitVersion"])
    except (OSError, KeyError) as error:
        raise CheckFailed(f"the Kubernetes API at {url} does not answer: {error}") from None


def _cluster() -> tuple[str, str, ssl.SSLContext | None]:
    if (host := os.environ.get("KUBERNETES_SERVICE_HOST")) and (_SERVICE_ACCOUNT / "token").exists():
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        context = ssl.create_default_context(cafile=str(_SERVICE_ACCOUNT / "ca.crt"))
        return f"https://{host}:{port}", (_SERVICE_ACCOUNT / "token").read_text().strip(), context
    path = Path(os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or "~/.kube/config").expanduser()
    if not path.exists():
        raise CheckFailed("this machine is in no cluster and has no kubeconfig")
    return _of_kubeconfig(path)


def _of_kubeconfig(path: Path) -> tuple[str, str, ssl.SSLContext | None]:
    import base64

    import yaml

    config = yaml.safe_load(path.read_text())
    named = {kind: {one["name"]: one for one in config.get(kind, ())} for kind in ("contexts", "clusters", "users")}
    try:
        context = named["contexts"][config["current-context"]]["context"]
        cluster = named["clusters"][context["cluster"]]["cluster"]
        user = named["users"].get(context.get("user"), {}).get("user", {})
    except KeyError as error:
        raise CheckFailed(f"the kubeconfig {path} names no {error}") from None
    server = str(cluster["server"]).rstrip("/")
    if not server.startswith("https://"):
        return server, str(user.get("token", "")), None
    tls = ssl.create_default_context()
    if "certificate-authority-data" in cluster:
        tls.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    elif "certificate-authority" in cluster:
        tls.load_verify_locations(cafile=str(path.parent / cluster["certificate-authority"]))
    if "client-certificate" in user and "client-key" in user:
        tls.load_cert_chain(path.parent / user["client-certificate"], path.parent / user["client-key"])
    return server, str(user.get("token", "")), tls


def capabilities(labels: Mapping[str, str]) -> list[str]:
    """What this machine can, as far as it can be seen from here. ``labels``: say whether it runs containers."""
    found = ["native"]
    if labels.get(CONTAINER_LABEL) == "yes":
        found.append("docker")
    try:
        kubernetes_version()
    except Exception:  # Not there, whatever the reason.
        return found
    return [*found, "kubernetes"]
