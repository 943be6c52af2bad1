"""API keys and the audit."""

from __future__ import annotations

from runner.v1 import api_key_pb2, auth_service_pb2
from runner_service.domain.audit import AuditEntry
from runner_service.domain.credentials import IssuedKey
from runner_service.domain.errors import InvalidArgument
from runner_service.domain.ids import is_id
from runner_service.domain.principals import Role
from runner_service.rpc.convert import times

_MOST = 2**62


def role(value: int) -> Role:
    """The numbers are the same; one that is not known is none, which nobody takes."""
    return Role(value) if value in set(Role) else Role.NONE


def role_out(value: Role) -> api_key_pb2.ApiKey.Role.ValueType:
    return api_key_pb2.ApiKey.Role.Value("ROLE_UNSPECIFIED" if value is Role.NONE else f"ROLE_{value.name}")


def life_seconds(request: auth_service_pb2.CreateApiKeyRequest) -> float | None:
    return times.seconds(request.lifetime) if request.HasField("lifetime") else None


def api_key(value: IssuedKey) -> api_key_pb2.ApiKey:
    return api_key_pb2.ApiKey(
        key_id=value.key_id,
        name=value.name,
        role=role_out(value.role),
        create_time=times.timestamp(value.created_at),
        created_by=value.created_by,
        expire_time=times.timestamp(value.expires_at),
        revoke_time=times.timestamp(value.revoked_at),
    )


def audit_entry(value: AuditEntry) -> api_key_pb2.AuditEntry:
    return api_key_pb2.AuditEntry(
        sequence=value.sequence,
        time=times.timestamp(value.at),
        principal=value.principal,
        role=value.role,
        peer=value.peer,
        method=value.method,
        target=value.target,
        status=value.status,
        request_id=value.request_id,
    )


def after(token: str) -> str:
    """The page token of keys. Raises `InvalidArgument`."""
    if token and not is_id(token):
        raise InvalidArgument(field="page_token", problem="it is not of this service")
    return token


def before(token: str) -> int:
    """The page token of the audit; 0: the newest. Raises `InvalidArgument`."""
    if token and not (token.isascii() and token.isdecimal() and 0 < int(token) < _MOST):
        raise InvalidArgument(field="page_token", problem="it is not of this service")
    return int(token or 0)
