"""What workers show: secrets with an end, each of which is followed by another while its worker is in contact.

A worker is given the next one once half of the life of the one that it shows is over, and again as long as it shows the
old one: that a reply was lost costs nothing. The first call with the new one ends the old one, after an overlap for
calls that are on their way.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner_service.domain.jobs import Micros

LIFE_SECONDS = 24 * 3600.0
"""Of each, from the time when it was told first."""
OVERLAP_SECONDS = 60.0
"""How long the old one is taken once the new one was shown. Longer than another server believes in what it has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCredential:
    """One of a runner's, as the store has it."""

    number: int
    """Counts those of one runner: the highest is the newest."""
    digest: bytes
    """sha256 of the credential; the credential itself is kept by the worker alone."""
    nonce: str = ""
    """What it is derived from, as long as it may have to be told again."""
    expires_at: Micros
    """From then on it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsOfWorker:
    """All that there are of one runner."""

    name: str
    """The runner's."""
    credentials: tuple[WorkerCredential, ...]
    """Newest last, expired ones too."""
    now: Micros
    """By the clock that their ends are of."""
