"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


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
