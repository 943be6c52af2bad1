"""All sections as one."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from runner_service.config.agents import Agents
from runner_service.config.dialects import KubeAgents, RustCi, Sct, Sentinel, Testflinger
from runner_service.config.dispatch import Dispatch
from runner_service.config.limits import RateLimits, Webhooks
from runner_service.config.running import Artifacts, Blobs, Executor, Logging, Retention, Store
from runner_service.config.security import Security
from runner_service.config.server import Server


def default_data_dir(name: str) -> Path:
    """The directory ``name`` where this user's programs keep their state."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return (Path(state) / name).expanduser()


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="RUNNER_", env_nested_delimiter="_", env_nested_max_split=1, extra="ignore", frozen=True
    )

    data_dir: Path = Field(default_factory=lambda: default_data_dir("runner"))
    server: Server = Server()
    security: Security = Security()
    executor: Executor = Executor()
    dispatch: Dispatch = Dispatch()
    store: Store = Store()
    blobs: Blobs = Blobs()
    artifacts: Artifacts = Artifacts()
    logging: Logging = Logging()
    retention: Retention = Retention()
    rate_limits: RateLimits = RateLimits()
    webhooks: Webhooks = Webhooks()
    agents: Agents = Agents()
    sct: Sct = Sct()
    rustci: RustCi = RustCi()
    testflinger: Testflinger = Testflinger()
    kubeagents: KubeAgents = KubeAgents()
    sentinel: Sentinel = Sentinel()
