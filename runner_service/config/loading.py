"""The reader of environment and files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
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


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class _Environment(EnvSettingsSource):
    """RUNNER_… without the variables of the client."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        client = {name.lower() for name in _CLIENT_VARIABLES}
        return {name: value for name, value in super()._load_env_vars().items() if name.lower() not in client}


def load(path: Path | None, flags: Mapping[str, Any], defaults: Mapping[str, Any] = _NOTHING) -> Settings:
    """Reads the settings. ``flags`` are nested like the file and win over everything, ``defaults`` stand in place of
    our own. A missing file means defaults, as SCT's installer expects.

    Raises:
        ConfigError: A file that is not YAML, or a value that cannot be.
    """
    document = _read(path)
    _warn_unknown(document, path)

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
                InitSettingsSource(settings_cls, dict(defaults)),
            )

    try:
        settings: Settings = Loaded(**flags)
    except SettingsError as error:
        raise ConfigError(str(error)) from None
    except ValidationError as error:
        raise ConfigError(_explain(error, flags, path)) from None
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
        # YAML's own words take several lines.
        why = " ".join(str(error).split())
        raise ConfigError(f"cannot read the configuration file {path}: {why}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"the configuration file {path} holds no mapping of sections")
    # A section that is named but empty is as if it were not there.
    return {str(name): value for name, value in document.items() if value is not None}


_UNUSED = frozenset({"storage"})
"""Sections of the documented configuration files that mean nothing here, and are no typing errors."""


def _warn_unknown(document: Mapping[str, Any], path: Path | None) -> None:
    """One warning that names every key which is not known, at whatever depth: one that was mistyped may be what was to
    keep others out."""
    for name, section in document.items():
        field = Settings.model_fields.get(name)
        if field is not None and _section(field.annotation) and not isinstance(section, dict):
            raise ConfigError(f"the section {name} of the configuration file {path} holds no keys with values")
    unknown = [name for name in _unknown(Settings, document) if name not in _UNUSED]
    if unknown:
        log.warning(
            "settings of %s that are not known are ignored: %s",
            path,
            ", ".join(unknown),
            extra={"action": "config_unknown"},
        )


def _unknown(kind: type[BaseModel], given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        field = kind.model_fields.get(name)
        if field is None:
            yield name
        elif (single := _section(field.annotation)) and isinstance(value, dict):
            yield from (f"{name}.{key}" for key in _unknown(single, value))
        elif (each := _sections(field.annotation)) and isinstance(value, list):
            for index, element in enumerate(value):
                if isinstance(element, dict):
                    yield from (f"{name}.{index}.{key}" for key in _unknown(each, element))


def _section(annotation: Any) -> type[Section] | None:
    """The kind of section that a setting is, if it is one."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _sections(annotation: Any) -> type[Section] | None:
    """The kind of sections that a setting is a list of, if it is one."""
    return next(filter(None, map(_section, get_args(annotation))), None)


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


def _explain(error: ValidationError, flags: Mapping[str, Any], path: Path | None) -> str:
    """All that is wrong, each with the place that says it. Never a value: it may be a key."""
    return "; ".join(
        f"the setting {'.'.join(map(str, each['loc']))} {_source(each['loc'], flags, path)} is not valid: "
        + each["msg"].removeprefix("Value error, ")
        for each in error.errors()
    )


def _source(place: tuple[int | str, ...], flags: Mapping[str, Any], path: Path | None) -> str:
    """Where a setting was read from, the strongest first."""
    section, key = str(place[0]), str(place[1]) if len(place) > 1 else ""
    names = {f"RUNNER_{section}", f"RUNNER_{section}_{key}"}
    variable = next((name for name in os.environ if name.lower() in {each.lower() for each in names}), None)
    if section in flags and (not key or key in flags[section]):
        return "on the command line"
    if variable is not None:
        return f"in the variable {variable}"
    if key in _seed_variables().get(section, {}):
        return f"in the variable {'PORT' if key == 'port' else 'CORS_ALLOWED_ORIGINS'}"
    return f"in {path}"
