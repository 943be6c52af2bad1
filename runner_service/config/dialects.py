"""What the documented APIs can be told, a section each."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from runner_service.config.base import Section
from runner_service.config.security import Key, plain_keys


class Sct(Section):
    """The SCT façade."""

    max_output_bytes: int = Field(default=32 * 1024 * 1024, gt=0)
    """Shown of each stream in GET; the native log API shows all."""


class RustCi(Section):
    """The RustCI façade."""

    require_auth: bool = False
    """Demand a JWT or an API key on loopback too, by role; without it, what is sent there is ignored."""
    jwt_secret: str = ""
    """HS256 key of JWTs that somebody else signs, beside the login tokens of SentinelStacks. Empty: none are taken."""


class LabClient(Section):
    """A Testflinger client."""

    client_id: str = Field(min_length=1)
    secret: str = Field(min_length=1)
    """In plain, or an argon2 hash."""
    role: Literal["agent", "contributor", "manager", "admin"] = "contributor"
    max_priority: dict[str, int] = Field(default_factory=dict)
    """By queue; `*` for all."""
    allowed_queues: tuple[str, ...] = ()
    max_reservation_time: dict[str, int] = Field(default_factory=dict)
    """Seconds by queue; `*` for all."""
    email: str = ""


class Testflinger(Section):
    """The Testflinger façade."""

    clients: tuple[LabClient, ...] = ()
    token_secret: str = ""
    """HS256 key of its access tokens. Empty: one is made and kept in the data directory."""
    token_seconds: int = Field(default=600, gt=0)
    """Life of an access token."""
    refresh_days: float = Field(default=6.0, gt=0)
    """Life of a refresh token."""
    refresh_idle_days: float = Field(default=90.0, gt=0)
    """A refresh token that was not used for so long is dropped."""
    era: Literal["both", "seed", "today"] = "both"
    """Whose forms answers have. `both`: those of the caller."""
    anonymous_agents: bool = True
    """Agents without a token may pop jobs and post results, on loopback."""
    default_timeout_seconds: float = Field(default=14_400, gt=0)
    """Of jobs without `global_timeout`."""
    lease_grace_seconds: float = Field(default=600, gt=0)
    """An agent that says nothing for its job's time and this is lost."""
    agent_silence_seconds: float = Field(default=900, gt=0)
    """An agent that asked how its job stands, as all do every 10 seconds, and then says nothing for so long is lost."""
    lease_sweep_seconds: float = Field(default=5.0, gt=0)
    """Between looks for agents that are lost."""
    requeue_lost_jobs: bool = False
    """A job whose agent is lost waits for another one, up to three in all, instead of ending."""
    max_output_bytes: int = Field(default=256 * 1024 * 1024, gt=0)
    """Kept of the output of a job, and as much of its serial output."""
    max_file_bytes: int = Field(default=16 * 1024 * 1024 * 1024, gt=0)
    """Of an artifact, and of the attachments of a job."""
    commands: dict[str, dict[str, str]] = Field(default_factory=dict)
    """What our own runners do in the phases of a job, beside its `test_cmds`: a script by queue (`*` for all others)
    and phase. Their `cleanup` is run last, also when a phase fails and when the job is cancelled or out of time;
    `serial` reads the device's console beside them."""
    cleanup_seconds: float = Field(default=60, gt=0, le=1_800)
    """How long the phase of a job that is cancelled, or out of time, may take to end, and then its cleanup."""


class Account(Section):
    """A user who may log in."""

    username: str = Field(min_length=1)
    password: str = Field(min_length=1)
    """In plain, or an argon2 hash."""


class Sentinel(Section):
    """The SentinelStacks façade."""

    users: tuple[Account, ...] = ()
    """Empty: on loopback whoever gives a name and a password is let in under it."""
    require_auth: bool = False
    """Demand a login for agents and images too, not for the registry alone."""
    token_auth_secret: str = ""
    """HS256 key of its login tokens. Empty: one is made and kept in the data directory."""
    token_hours: float = Field(default=24.0, gt=0)
    """Life of a login token."""

    @field_validator("users", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return [{"username": name, "password": password} for name, password in value.items()]
        return value


class KubeAgents(Section):
    """The KubeAgents façade."""

    api_keys: tuple[Key, ...] = ()
    """Empty: on loopback no credential is looked at. Else one of these, or a key of `security`, is demanded."""
    default_ttl_minutes: int = Field(default=30, ge=1, le=1440)
    """Of sessions whose agent does not say."""
    history_per_session: int = Field(default=1_000, gt=0)
    """Reports that are kept of each session, the last ones."""

    _plain_keys = field_validator("api_keys", mode="before")(plain_keys)
