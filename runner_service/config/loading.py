"""The reader of environment and files."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from runner_service.config.base import ConfigError, Section
from runner_service.config.security import Key
from runner_service.config.settings import Settings

log = logging.getLogger(__name__)

_CLIENT_VARIABLES = frozenset({"RUNNER_SERVER", "RUNNER_TOKEN"})
"""Of the command line client; no settings of the server."""


class _Environment(EnvSettingsSource):
    """RUNNER_… without the variables of the client."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        client = {name.lower() for name in _CLIENT_VARIABLES}
        return {name: value for name, value in super()._load_env_vars().items() if name.lower() not in client}


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
