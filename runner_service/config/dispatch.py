"""The numbers of the worker protocol."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from runner_service.config.base import Section


class Dispatch(Section):
    """How long the server counts on a runner that it does not hear of, and how often it hears of it."""

    lease_seconds: float = Field(default=30.0, ge=1)
    park_idle_seconds: float = Field(default=25.0, gt=0)
    park_busy_seconds: float = Field(default=10.0, gt=0)
    confirm_seconds: float = Field(default=15.0, ge=1)
    kill_budget_seconds: float = Field(default=10.0, ge=10)
    """What a worker takes to end its processes once it decides to: less, and two executions could live."""

    @model_validator(mode="after")
    def _park_within_the_lease(self) -> Self:
        if max(self.park_idle_seconds, self.park_busy_seconds) >= self.lease_seconds:
            raise ValueError("park_idle_seconds and park_busy_seconds must be below lease_seconds")
        return self
