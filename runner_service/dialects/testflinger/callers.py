"""Who calls, in which era's forms, and what that allows: rules that depend on the request (testflinger.md, §1 and §9).

Callers of the older era send a bare token and are told of its faults only where a permission is needed. Callers of
today send ``Bearer``, which must be good, and their agents say who they are by a cookie.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from runner_service.dialects.testflinger.errors import InvalidToken, RoleMissing
from runner_service.domain.errors import PushNeedsCredential, TokenExpired, TokenRefused
from runner_service.domain.principals import Role
from runner_service.rpc.access import ANYBODY, current_principal
from runner_service.rpc.forms.testflinger import current_credential
from runner_service.services.auth import Clients, CredentialKind
from runner_service.services.queues import AgentIdentity, Permissions

AGENT, CONTRIBUTOR, MANAGER, ADMIN = "agent", "contributor", "manager", "admin"
PEOPLE = (ADMIN, CONTRIBUTOR, MANAGER)


class Era(Enum):
    """Whose forms the answers have."""

    SEED = "seed"
    TODAY = "today"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabCaller:
    """Who calls."""

    era: Era
    permissions: Permissions
    roles: frozenset[str]
    agent: str = ""
    """What the cookie says: empty for agents of the older era."""
    bound: bool = False
    """A token says who it is: an agent may not speak for another one."""
    refused: TokenRefused | None = None
    """Why the bare token is not good; told where a permission is needed."""

    @property
    def today(self) -> bool:
        return self.era is Era.TODAY

    @property
    def posting_agent(self) -> AgentIdentity | None:
        """The agent whose jobs it may post for; None: any."""
        return AgentIdentity(name=self.agent, client_id=self.permissions.client_id) if self.bound else None

    def demand(self, *roles: str) -> LabCaller:
        """Returns itself if it has one of the roles. Raises `RoleMissing`."""
        if self.roles.isdisjoint(roles):
            raise RoleMissing(roles=", ".join(sorted(roles)))
        return self

    def explain(self, error: PushNeedsCredential) -> Exception:
        """What to say to who lacks a permission: of a bad token, what is wrong with it."""
        if self.refused is None:
            return error
        return self.refused if isinstance(self.refused, TokenExpired) else InvalidToken()


class Callers:
    """Reads callers of this call."""

    def __init__(self, *, clients: Clients, era: str, anonymous_agents: bool) -> None:
        """``era``: ``both``, ``seed`` or ``today``."""
        self._clients = clients
        self._era = era
        self._anonymous = frozenset({CONTRIBUTOR, AGENT} if anonymous_agents else {CONTRIBUTOR})

    @property
    def only_today(self) -> bool:
        """Nobody is to get answers of the older era, or of the document where it differs from today's server."""
        return self._era == "today"

    def of(self, cookie: str = "") -> LabCaller:
        """Who makes the call that is being served. ``cookie``: of the name of an agent.

        Raises:
            TokenRefused: A ``Bearer`` token that is not good.
        """
        credential = current_credential.get()
        kind = credential.kind
        era = self._era_of(kind, cookie)
        if kind is CredentialKind.NONE:
            return LabCaller(era=era, permissions=Permissions(), roles=self._anonymous, agent=cookie)
        if kind not in (CredentialKind.BEARER, CredentialKind.RAW):
            return LabCaller(era=era, permissions=Permissions(), roles=frozenset(), agent=cookie)
        try:
            permissions = Permissions.of(self._clients.permissions(credential.token))
        except TokenRefused as refused:
            return self._without_token(era, kind, cookie, refused)
        return LabCaller(
            era=era,
            permissions=permissions,
            roles=frozenset({permissions.role}),
            agent=cookie,
            bound=permissions.role == AGENT,
        )

    def _without_token(self, era: Era, kind: CredentialKind, cookie: str, refused: TokenRefused) -> LabCaller:
        principal = current_principal.get()
        if principal is not ANYBODY:
            # A key of the service let it in.
            above = principal.role is Role.ADMIN
            return LabCaller(
                era=era,
                permissions=Permissions(
                    client_id=principal.name, role=ADMIN if above else CONTRIBUTOR, unlimited=above
                ),
                roles=frozenset({ADMIN, AGENT, CONTRIBUTOR} if above else {AGENT, CONTRIBUTOR}),
                agent=cookie,
            )
        if kind is CredentialKind.BEARER:
            raise refused
        return LabCaller(era=era, permissions=Permissions(), roles=self._anonymous, agent=cookie, refused=refused)

    def _era_of(self, kind: CredentialKind, cookie: str) -> Era:
        if self._era != "both":
            return Era(self._era)
        return Era.TODAY if kind is CredentialKind.BEARER or cookie else Era.SEED
