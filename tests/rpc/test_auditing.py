"""Who was not let in is noted, and nobody can flood the audit with it."""

from __future__ import annotations

from typing import Any

from runner.gateway.v1 import options_pb2
from runner_service.domain.errors import CredentialsInvalid, JobNotFound
from runner_service.rpc.access import Caller, Rule
from runner_service.rpc.auditing import REFUSAL_SECONDS, REFUSALS_AT_ONCE, Auditor
from runner_service.services.auth import Role

READ, MAKE_KEY = "/runner.v1.JobService/GetJob", "/runner.v1.AuthService/CreateApiKey"


class Notes:
    """Takes what an `Audit` would."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []

    def note(self, **members: Any) -> None:
        self.notes.append(members)


def test_refusals_of_an_address_are_noted_until_there_are_too_many() -> None:
    notes, now = Notes(), 0.0
    rules = {
        READ: Rule(options_pb2.ACCESS_REQUIRED, Role.VIEWER),
        MAKE_KEY: Rule(options_pb2.ACCESS_REQUIRED, Role.ADMIN, audited=True),
    }
    auditor = Auditor(audit=notes, rules=rules, monotonic=lambda: now)  # type: ignore[arg-type]

    def refuse(peer: str, error: Any = None) -> bool:
        return auditor.note_refused(READ, caller=Caller(peer=peer), request=None, error=error or CredentialsInvalid())

    # Each connection of an address has a port of its own.
    told = [refuse(f"ipv4:10.0.0.1:{port}") for port in range(REFUSALS_AT_ONCE + 5)]
    assert told == [True] * REFUSALS_AT_ONCE + [False] * 5
    assert refuse("ipv4:10.0.0.2:1")
    assert not refuse("ipv4:10.0.0.3:1", JobNotFound(job_id="x")), "that is no refusal"
    now += REFUSAL_SECONDS
    assert [refuse("ipv4:10.0.0.1:1"), refuse("ipv4:10.0.0.1:1")] == [True, False]
    assert {(one["method"], one["principal"], one["status"]) for one in notes.notes} == {
        (READ, "", CredentialsInvalid().reason)
    }
    assert (auditor.is_grave(READ), auditor.is_grave(MAKE_KEY)) == (False, True)
