"""The settings, and the only reader of environment and files: flag > environment > YAML > default.

Environment variables are ``RUNNER_<SECTION>_<KEY>`` (``RUNNER_STORE_URL``), then the names that the documented APIs
know: ``PORT``, ``SCT_AGENT_API_KEY``, ``CORS_ALLOWED_ORIGINS``. A YAML key that is not known is warned of once and
ignored, so that the configuration files of existing installations are accepted as they are.
"""

from __future__ import annotations

from runner_service.config.agents import Agents
from runner_service.config.base import Address, ConfigError, Section
from runner_service.config.dialects import Account, KubeAgents, LabClient, RustCi, Sct, Sentinel, Testflinger
from runner_service.config.limits import RateLimits, Webhooks
from runner_service.config.loading import load
from runner_service.config.running import Executor, Logging, Retention, Store
from runner_service.config.security import Key, Security, Tls
from runner_service.config.server import Server
from runner_service.config.settings import Settings, default_data_dir

__all__ = [
    "Account",
    "Address",
    "Agents",
    "ConfigError",
    "Executor",
    "Key",
    "KubeAgents",
    "LabClient",
    "Logging",
    "RateLimits",
    "Retention",
    "RustCi",
    "Sct",
    "Section",
    "Security",
    "Sentinel",
    "Server",
    "Settings",
    "Store",
    "Testflinger",
    "Tls",
    "Webhooks",
    "default_data_dir",
    "load",
]
