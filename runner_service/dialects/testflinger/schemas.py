"""What requests must look like. Marshmallow, as Testflinger's own server uses it: so the texts of errors are the same.

Schemas only check. What is kept is the text that was sent, so that no number loses a digit.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate

from runner_service.dialects.testflinger.errors import ValidationFailed
from runner_service.dialects.testflinger.shapes import Attachment, check_provision_data
from runner_service.dialects.testflinger.words import SEARCHABLE
from runner_service.domain.json_text import parse
from runner_service.domain.queues import PHASES
from runner_service.domain.secrets import MAX_BYTES, MIN_BYTES
from runner_service.services.queues import seconds_of


class _ProvisionData(fields.Field[Any]):
    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> Any:
        check_provision_data(value)
        return value


class _Duration(fields.Field[Any]):
    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> Any:
        if seconds_of(value) is None:
            raise ValidationError("Invalid duration format: give seconds, or text such as 30m or 2h30m.")
        return value


class TestData(Schema):
    """``test_data``"""

    __test__ = False  # no test, whatever its name says

    test_cmds = fields.String()
    attachments = fields.List(fields.Nested(Attachment))
    test_username = fields.String()
    test_password = fields.String()
    secrets = fields.Dict(
        keys=fields.String(validate=validate.Regexp(r"^[a-zA-Z_][a-zA-Z0-9_]*$")),
        values=fields.String(validate=validate.Regexp(r"^[a-zA-Z0-9_/-]+$")),
    )


class ReserveData(Schema):
    """``reserve_data``"""

    ssh_keys = fields.List(fields.String(validate=validate.Regexp(r"^(lp|gh):(\S+)$")))
    timeout = _Duration(allow_none=True)


class Job(Schema):
    """A job. Members that are not known are taken as they are."""

    class Meta:
        unknown = INCLUDE

    job_id = fields.UUID()
    parent_job_id = fields.String()
    name = fields.String()
    tags = fields.List(fields.String())
    job_queue = fields.String(required=True, validate=validate.Length(min=1))
    global_timeout = fields.Integer()
    output_timeout = fields.Integer()
    allocation_timeout = fields.Integer()
    provision_data = _ProvisionData(allow_none=True)
    firmware_update_data = fields.Dict()
    test_data = fields.Nested(TestData)
    allocate_data = fields.Dict()
    reserve_data = fields.Nested(ReserveData)
    job_status_webhook = fields.String()
    job_priority = fields.Integer()
    exclude_agents = fields.List(fields.String())
    debug = fields.Boolean()


class Action(Schema):
    """An action, in any case of letters."""

    action = fields.String(required=True)


_RESULT: dict[str, fields.Field[Any]] = {
    "status": fields.Dict(keys=fields.String(validate=validate.OneOf(PHASES)), values=fields.Integer()),
    "device_info": fields.Dict(),
    "job_state": fields.String(),
    "exit_code": fields.Integer(),
    "output": fields.String(),
}
for _phase in PHASES:
    _RESULT[f"{_phase}_status"] = fields.Integer()
    _RESULT[f"{_phase}_output"] = fields.String()
    _RESULT[f"{_phase}_serial"] = fields.String()

Result = Schema.from_dict(_RESULT, name="Result")
"""A result, in the shapes of both eras and of the document."""


class LogFragment(Schema):
    """A piece of output."""

    fragment_number = fields.Integer(required=True, validate=[validate.Range(min=0), validate.Range(max=2**53)])
    timestamp = fields.AwareDateTime(required=True, format="iso", default_timezone=UTC)
    phase = fields.String(required=True, validate=validate.OneOf(PHASES))
    log_data = fields.String(required=True)


class LogQuery(Schema):
    """Which pieces of output."""

    phase = fields.String(validate=validate.OneOf(PHASES))
    start_fragment = fields.Integer(validate=[validate.Range(min=0), validate.Range(max=2**53)])
    start_timestamp = fields.DateTime(format="iso")


class Search(Schema):
    """A search for jobs."""

    tags = fields.List(fields.String())
    match = fields.String(validate=validate.OneOf(["any", "all"]))
    state = fields.List(fields.String(validate=validate.OneOf(SEARCHABLE)))


class Agent(Schema):
    """What an agent says about itself. Members that are not known are kept as they are."""

    class Meta:
        unknown = INCLUDE

    identifier = fields.String()
    job_id = fields.String()
    location = fields.String()
    log = fields.List(fields.String())
    provision_type = fields.String()
    queues = fields.List(fields.String())
    state = fields.String()
    comment = fields.String()


class ProvisionLog(Schema):
    """How a provision ended."""

    job_id = fields.String(required=True)
    exit_code = fields.Integer(required=True, validate=validate.Range(min=-(2**31), max=2**31 - 1))
    detail = fields.String()


class Event(Schema):
    """Something that happened to a job."""

    event_name = fields.String(required=True)
    timestamp = fields.String(required=True)
    detail = fields.String()


class Events(Schema):
    """Events for a webhook."""

    agent_id = fields.String()
    job_queue = fields.String()
    # The documented line names a host without a dot.
    job_status_webhook = fields.URL(required=True, require_tld=False, schemes={"http", "https"})
    events = fields.List(fields.Nested(Event))


class Owner(Schema):
    """An owner of a queue."""

    client_id = fields.String(required=True)


class MaybeOwner(Schema):
    """An owner of a queue, or nobody."""

    client_id = fields.String()


class RefreshToken(Schema):
    """A refresh token."""

    refresh_token = fields.String(required=True)


class ClientPermissions(Schema):
    """What a client is allowed."""

    client_secret = fields.String(validate=validate.Length(min=15))
    max_priority = fields.Dict(keys=fields.String(), values=fields.Integer())
    max_reservation_time = fields.Dict(keys=fields.String(), values=fields.Integer())
    role = fields.String(validate=validate.OneOf(["admin", "agent", "contributor", "manager"]))
    email = fields.Email(allow_none=True)


class SecretPath(Schema):
    """Where a secret lies."""

    path = fields.String(required=True, validate=validate.Regexp(r"^[a-zA-Z0-9_/-]+$"))


class NewSecret(Schema):
    """A secret. What is too short to be kept out of logs is refused."""

    value = fields.String(required=True, validate=validate.Length(min=MIN_BYTES, max=MAX_BYTES))
    expire_after = fields.Integer(allow_none=True, validate=validate.Range(min=1, max=3_650 * 86_400))
    ephemeral = fields.Boolean()


def check(schema: type[Schema], value: object, *, place: str = "json") -> dict[str, Any]:
    """What ``schema`` makes of a value. Raises `ValidationFailed`."""
    try:
        found = schema().load(value)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValidationFailed(place, error.messages) from None
    return dict(found)


def check_text(schema: type[Schema], body: bytes) -> tuple[str, dict[str, Any]]:
    """The text of a body, and what ``schema`` makes of it. Raises `ValidationFailed`."""
    text = body.decode() or "{}"
    return text, check(schema, parse(text))
