"""Credentials of workers: at most a handful of rows for a runner."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, exists, func, insert, select, text, update

from runner_service.domain.errors import InvalidArgument
from runner_service.domain.runners import Runner, RunnerProfile
from runner_service.domain.worker_credentials import CredentialsOfWorker, WorkerCredential
from runner_service.ports.store import Mark
from runner_service.store import answers, runners
from runner_service.store.schema import runners as runners_table
from runner_service.store.schema import worker_credentials
from runner_service.store.statements import Connection, Query, integer, string

CONTACT_SECONDS = 60.0
"""Whoever was heard of within this long before the last sign of all was in contact."""
RETURN_SECONDS = 3600.0
"""For workers to come back in, of a server that was away."""
_OF_RUNNER = worker_credentials.c.runner_id == string("runner_id")
# Reads the primary key, as all of these do.
ALL = Query(
    select(
        worker_credentials.c.number,
        worker_credentials.c.digest,
        worker_credentials.c.nonce,
        worker_credentials.c.expires_at,
    )
    .where(_OF_RUNNER)
    .order_by(worker_credentials.c.number)
)
ADD = Query(insert(worker_credentials))
TOLD = Query(
    update(worker_credentials)
    .values(nonce=bindparam("nothing", type_=worker_credentials.c.nonce.type))
    .where(_OF_RUNNER, worker_credentials.c.number <= integer("up_to"))
)
DROP_ENDED = Query(
    delete(worker_credentials).where(
        _OF_RUNNER,
        worker_credentials.c.number < integer("below"),
        worker_credentials.c.expires_at <= integer("now"),
    )
)
END = Query(
    update(worker_credentials)
    .values(expires_at=integer("until"))
    .where(
        _OF_RUNNER,
        worker_credentials.c.number < integer("below"),
        worker_credentials.c.expires_at > integer("later_than"),
    )
)
DROP_RUNNER = Query(delete(worker_credentials).where(_OF_RUNNER))
_later = worker_credentials.alias("later")
# These walk their tables, once at the start of a server.
LAST_HEARD = Query(select(func.max(runners_table.c.last_seen_at)))
REVIVE = Query(
    update(worker_credentials)
    .values(expires_at=integer("until"))
    .where(
        worker_credentials.c.expires_at > integer("heard_at"),
        worker_credentials.c.expires_at < integer("until"),
        worker_credentials.c.runner_id.in_(
            select(runners_table.c.runner_id).where(runners_table.c.last_seen_at >= integer("in_contact_since"))
        ),
        # Those that were ended by a later one, which its worker has shown, stay so.
        ~exists().where(
            _later.c.runner_id == worker_credentials.c.runner_id,
            _later.c.number > worker_credentials.c.number,
            _later.c.nonce == text("''"),
        ),
    )
)


def register_once(
    conn: Connection,
    runner: Runner,
    profile: RunnerProfile,
    digest: bytes,
    life_seconds: float,
    mark: Mark | None,
    note: str,
) -> tuple[Runner, str]:
    if (known := answers.known(conn, mark)) is not None:
        runner_id, _, note = known.partition(" ")
        return runners.get(conn, runner_id), note
    answers.note(conn, mark, f"{runner.runner_id} {note}")
    if digest:
        expires_at = conn.now() + round(life_seconds * 1e6)
        _add(conn, runner.runner_id, WorkerCredential(number=1, digest=digest, expires_at=expires_at))
    return runners.register(conn, runner, profile), note


def of_runner(conn: Connection, runner_id: str) -> CredentialsOfWorker:
    runner = runners.get(conn, runner_id)
    return CredentialsOfWorker(name=runner.name, credentials=tuple(_all(conn, runner_id)), now=conn.now())


def _all(conn: Connection, runner_id: str) -> list[WorkerCredential]:
    return [
        WorkerCredential(number=row[0], digest=bytes(row[1]), nonce=row[2], expires_at=row[3])
        for row in conn.all(ALL, {"runner_id": runner_id})
    ]


def renew(
    conn: Connection, runner_id: str, shown: bytes, digest: bytes, nonce: str, life_seconds: float, rejoins: bool
) -> WorkerCredential | None:
    runners.get(conn, runner_id, lock=True)
    known = _all(conn, runner_id)
    if shown not in [one.digest for one in known]:
        raise InvalidArgument(field="credential", problem="it is none of this runner's")
    newest, now, life = known[-1], conn.now(), round(life_seconds * 1e6)
    if newest.digest != shown:
        if newest.nonce and newest.expires_at - now > life // 2:
            return newest
        if not (newest.nonce or rejoins):
            return None
    made = WorkerCredential(number=newest.number + 1, digest=digest, nonce=nonce, expires_at=now + life)
    _add(conn, runner_id, made)
    return made


def _add(conn: Connection, runner_id: str, made: WorkerCredential) -> None:
    values = {"number": made.number, "digest": made.digest, "nonce": made.nonce, "expires_at": made.expires_at}
    conn.run(ADD, {"runner_id": runner_id, **values})


def revive(conn: Connection, now: int) -> None:
    """Gives workers that were in contact when a server was last time to come back to it, as what ended since then ended
    while nobody could give them another."""
    row = conn.one(LAST_HEARD)
    if row is not None and row[0]:
        contact, again = round(CONTACT_SECONDS * 1e6), round(RETURN_SECONDS * 1e6)
        conn.run(REVIVE, {"heard_at": row[0], "until": now + again, "in_contact_since": row[0] - contact})


def confirm(conn: Connection, runner_id: str, number: int, overlap_seconds: float) -> None:
    runners.get(conn, runner_id, lock=True)
    until = conn.now() + round(overlap_seconds * 1e6)
    of = {"runner_id": runner_id}
    # Those that ended before go; those that end now stay until the next time, so that who shows one is told why not.
    conn.run(DROP_ENDED, {**of, "below": number, "now": conn.now()})
    conn.run(END, {**of, "below": number, "until": until, "later_than": until})
    conn.run(TOLD, {**of, "up_to": number, "nothing": ""})
