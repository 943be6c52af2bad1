"""What ``provision_data`` may look like: a shape for each way to provision a device, as today's server knows them.

A shape names its members with their types; ``!`` marks those that must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema


class Attachment(Schema):
    """A file that comes with a job: where it goes on the agent, and on the device."""

    agent = fields.String(required=True)
    device = fields.String()


def _attachments(**options: Any) -> fields.List[Any]:
    return fields.List(fields.Nested(Attachment), **options)


_KINDS: Mapping[str, Any] = {
    "string": fields.String,
    "integer": fields.Integer,
    "boolean": fields.Boolean,
    "url": fields.URL,
    "email": fields.Email,
    "object": fields.Dict,
    "attachments": _attachments,
    "one attachment": lambda **options: _attachments(validate=validate.Length(max=1), **options),
    "strings": lambda **options: fields.List(fields.String(), **options),
    "urls": lambda **options: fields.List(fields.URL(), validate=validate.Length(min=1), **options),
    "objects": lambda **options: fields.List(fields.Dict(), **options),
    "jobs": lambda **options: fields.List(fields.Dict(), validate=validate.Length(min=1), **options),
    "media": lambda **options: fields.String(validate=validate.OneOf(["sd", "usb"]), **options),
}


class _OneSource(Schema):
    """Takes a boot image from exactly one place."""

    @validates_schema
    def _check(self, data: Mapping[str, Any], **_: Any) -> None:
        if sum(bool(data.get(name)) for name in ("url", "urls", "attachments")) != 1:
            raise ValidationError("Give one source of the boot image.")


class _SomeImage(Schema):
    @validates_schema
    def _check(self, data: Mapping[str, Any], **_: Any) -> None:
        if "url" not in data and "use_attachment" not in data:
            raise ValidationError("Give an image.")


def _shape(members: str, base: type[Schema] = Schema) -> type[Schema]:
    made = {}
    for member in members.split(","):
        name, _, kind = member.strip().partition(": ")
        made[name.rstrip("!")] = _KINDS[kind](required=name.endswith("!"))
    return base.from_dict(made)


_TIMEOUT = "provisioning_timeout: integer"
_BOOT_IMAGE = f"url: url, urls: urls, attachments: one attachment, agent_ssh_access: boolean, {_TIMEOUT}"

_SHAPES = (
    _shape("url!: url"),  # CM3, OEM script
    _shape("distro: string, kernel: string, user_data: string, disks: objects, ephemeral: boolean"),  # MAAS
    _shape("jobs!: jobs"),  # several devices
    _shape(
        "url: url, use_attachment: string, attachments: attachments, create_user: boolean, boot_check_url: string,"
        "media: media",
        _SomeImage,
    ),  # MuxPi
    _shape("skip: boolean"),
    _shape(
        "url: url, attachments: attachments, token_file: string, user_data: string, redeploy_cfg: string,"
        "authorized_keys: string, control_host_iso_url: string, control_host_iso_type: string,"
        "update_user_data: boolean"
    ),  # OEM autoinstall
    _shape(f"ubuntu_sso_email: email, provision_plan!: object, {_BOOT_IMAGE}", _OneSource),
    _shape(f"preset!: string, preset_kwargs: object, {_BOOT_IMAGE}", _OneSource),
    _shape(
        "url!: url, robot_tasks!: strings, robot_retries: integer, autoinstall_storage_layout: string,"
        "ubuntu_sso_email: email, autoinstall_base_user_data: string, autoinstall_oem: boolean,"
        f"cmdline_append: string, {_TIMEOUT}"
    ),
    _shape(
        "url!: url, robot_tasks!: strings, robot_retries: integer, live_image!: boolean, wait_until_ssh!: boolean,"
        f"{_TIMEOUT}"
    ),
    _shape(f"alloem_url!: url, robot_tasks!: strings, robot_retries: integer, url: url, oem: string, {_TIMEOUT}"),
    _shape(
        "alloem_url: url, autoinstall_base_user_data: string, autoinstall_oem: boolean,"
        "autoinstall_storage_layout: string, cmdline_append: string, live_image: boolean, oem: string,"
        "preset!: string, robot_tasks: strings, ubuntu_sso_email: email, url: url, wait_until_ssh: boolean,"
        f"{_TIMEOUT}"
    ),
)


def check_provision_data(value: object) -> None:
    """Refuses what has none of the shapes. Raises ValidationError."""
    if value is None:
        return
    for shape in _SHAPES:
        try:
            shape().load(value)  # type: ignore[arg-type]
        except ValidationError:
            continue
        return
    raise ValidationError({"_schema": ["Invalid provision data schema."]})
