"""The settings, and the only reader of environment and files: flag > environment > YAML > default.

Environment variables are ``RUNNER_<SECTION>_<KEY>`` (``RUNNER_STORE_URL``), then the names that the documented APIs
know: ``PORT``, ``SCT_AGENT_API_KEY``, ``CORS_ALLOWED_ORIGINS``. A YAML key that is not known is warned of once and
ignored, so that the configuration files of existing installations are accepted as they are.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

log = logging.getLogger(__name__)

_CLIENT_VARIABLES = frozenset({"RUNNER_SERVER", "RUNNER_TOKEN"})
"""Of the command line client; no settings of the server."""


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and says what it must be."""


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host.strip("[]") or not port.isdecimal() or int(port) > 65535:
        raise ValueError("give HOST:PORT")
    return value


Address = Annotated[str, AfterValidator(_address)]
"""HOST:PORT or [IPv6]:PORT; port 0 takes a free one."""


class Section(BaseModel):
    """A section of the file. What it does not know is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Server(Section):
    """Where the server listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    """Of the primary HTTP listener."""
    also_http: tuple[Address, ...] = ()
    """Further HTTP listeners."""
    http: tuple[Address, ...] = ()
    """All HTTP listeners, in place of `host`, `port` and `also_http`."""
    grpc: Address = "127.0.0.1:50051"
    shutdown_grace_seconds: float = Field(default=5.0, ge=0)
    """How long running jobs may go on once the server was told to stop."""
    cors_origins: tuple[str, ...] = ()

    @property
    def http_addresses(self) -> tuple[Address, ...]:
        """Where HTTP is served, the primary listener first."""
        if self.http:
            return self.http
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{host}:{self.port}", *self.also_http)


class Key(Section):
    """An API key with a name for the audit and a role."""

    key: str = Field(min_length=1)
    name: str = ""
    role: Literal["viewer", "operator", "admin", "worker"] = "operator"


class Tls(Section):
    """TLS on the HTTP and gRPC ports."""

    enabled: bool = False
    cert_file: str = ""
    key_file: str = ""

    @model_validator(mode="after")
    def _can_be_served(self) -> Self:
        if self.enabled:
            try:
                # The empty password: one that is asked for would be asked of a terminal.
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                    self.cert_file, self.key_file, password=""
                )
            except OSError as error:
                files = f"cert_file {self.cert_file!r} and key_file {self.key_file!r}"
                raise ValueError(f"cannot use {files}: {error.strerror or error}") from None
        return self


class Security(Section):
    """Who may call."""

    api_keys: tuple[Key, ...] = ()
    """Plain strings are keys of the role operator."""
    require_auth: bool = False
    """Demand a credential on loopback too."""
    insecure: bool = False
    """Demand none off loopback either, where the API does not ask for one by itself. Said aloud at start."""
    tls: Tls = Tls()

    @field_validator("api_keys", mode="before")
    @classmethod
    def _plain_keys(cls, value: Any) -> Any:
        if isinstance(value, str):
            # Each of its characters would be a key.
            raise ValueError("give a list of keys")
        return [{"key": key} if isinstance(key, str) else key for key in value or ()]


class Executor(Section):
    """The local runner, and what jobs get that do not say."""

    max_concurrent_jobs: int = Field(default=10, gt=0)
    default_timeout_seconds: float = Field(default=1800, gt=0)
    kill_grace_seconds: float = Field(default=5.0, ge=0)
    max_queued_jobs: int = Field(default=10_000, gt=0)
    working_directory: str = ""
    """Of SCT commands that name none; empty: a fresh one for each."""
    local_runner: bool = True


class Store(Section):
    """Where facts are kept."""

    url: str = ""
    """Empty: SQLite in the data directory. ``postgresql+psycopg://…`` for more than one server."""
    migrate: bool = True


class Logging(Section):
    """The service's own log."""

    level: str = "info"
    """debug, info, warn or error; other words mean info."""


class Retention(Section):
    """How long things are kept."""

    jobs_days: float = Field(default=7.0, gt=0)
    sweep_seconds: float = Field(default=60.0, gt=0)


class Sct(Section):
    """The SCT façade."""

    max_output_bytes: int = Field(default=32 * 1024 * 1024, gt=0)
    """Shown of each stream in GET; the native log API shows all."""


class _Environment(EnvSettingsSource):
    """RUNNER_… without the variables of the client."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        client = {name.lower() for name in _CLIENT_VARIABLES}
        return {name: value for name, value in super()._load_env_vars().items() if name.lower() not in client}


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="RUNNER_", env_nested_delimiter="_", env_nested_max_split=1, extra="ignore", frozen=True
    )

    data_dir: Path = Field(default_factory=lambda: default_data_dir("runner"))
    server: Server = Server()
    security: Security = Security()
    executor: Executor = Executor()
    store: Store = Store()
    logging: Logging = Logging()
    retention: Retention = Retention()
    sct: Sct = Sct()


def default_data_dir(name: str) -> Path:
    """The directory ``name`` where this user's programs keep their state."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return (Path(state) / name).expanduser()


def load(path: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Reads the settings. ``flags`` are nested like the file and win over everything. A missing file means defaults,
    as SCT's installer expects.

    Raises:
        ConfigError: A file that is not YAML, or a value that cannot be.
    """
    document = _read(path)
    _warn_unknown(document)

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                _Environment(settings_cls),
                InitSettingsSource(settings_cls, _seed_variables()),
                InitSettingsSource(settings_cls, document),
            )

    try:
        settings: Settings = Loaded(**flags)
    except (ValidationError, SettingsError) as error:
        raise ConfigError(_explain(error)) from None
    return _with_key_of_environment(settings)


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        log.warning("there is no configuration file %s: the defaults hold", path, extra={"action": "config_missing"})
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"the configuration file {path} holds no mapping of sections")
    # A section that is named but empty is as if it were not there.
    return {str(name): value for name, value in document.items() if value is not None}


_UNUSED = frozenset({"storage"})
"""Sections of the documented configuration files that mean nothing here, and are no typing errors."""


def _warn_unknown(document: Mapping[str, Any]) -> None:
    """One warning that names every key which is not known."""
    unknown = []
    for name, section in document.items():
        field = Settings.model_fields.get(name)
        if field is None:
            unknown += [] if name in _UNUSED else [name]
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            if not isinstance(section, dict):
                raise ConfigError(f"the section {name} of the configuration file holds no keys with values")
            unknown += [f"{name}.{key}" for key in section if key not in field.annotation.model_fields]
    if unknown:
        log.warning(
            "settings that are not known are ignored: %s", ", ".join(unknown), extra={"action": "config_unknown"}
        )


def _seed_variables() -> dict[str, Any]:
    """The variables that the documented APIs know, as settings."""
    server: dict[str, Any] = {}
    if port := os.environ.get("PORT"):
        server["port"] = port
    if origins := os.environ.get("CORS_ALLOWED_ORIGINS"):
        server["cors_origins"] = [origin.strip() for origin in origins.split(",") if origin.strip()]
    return {"server": server} if server else {}


def _with_key_of_environment(settings: Settings) -> Settings:
    """The key of the environment joins those of the file; it does not replace them."""
    key = os.environ.get("SCT_AGENT_API_KEY", "").strip()
    if not key:
        return settings
    keys = (*settings.security.api_keys, Key(key=key, name="SCT_AGENT_API_KEY"))
    return settings.model_copy(update={"security": settings.security.model_copy(update={"api_keys": keys})})


def _explain(error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    # Never the value: it may be a key.
    return f"the setting {where} is not valid: {first['msg']}"
