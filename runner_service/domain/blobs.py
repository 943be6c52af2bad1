"""Keys of blobs, and for how long a blob may wait for the row that names it."""

from __future__ import annotations

from runner_service.domain.errors import UploadLate
from runner_service.domain.ids import new_id, seconds_of

KINDS = ("artifacts", "images", "lab", "logs", "checks")
"""First parts of keys: what the service keeps there, and what it tries a place out with."""
NAMED_SECONDS = 86_400.0
"""A row may name a blob for the first time only within so long of the making of its key."""
ORPHAN_SECONDS = 2 * NAMED_SECONDS
"""After which a blob that no row names is nobody's, whatever the clocks of those who write and look disagree by."""


def new_key(kind: str) -> str:
    """A key that nobody has, and nobody gets again."""
    name = new_id()
    return f"{kind}/{name[-2:]}/{name}"


def check_age(key: str, *, now: int) -> None:
    """Is to pass in the transaction that names a blob of a `new_key` for the first time; ``now`` in microseconds.

    Raises:
        UploadLate: It was on its way for so long that it may be deleted as an orphan.
    """
    made = seconds_of(key.rpartition("/")[2])
    if made is not None and made + NAMED_SECONDS < now / 1e6:
        raise UploadLate
