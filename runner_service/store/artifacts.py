"""Artifacts and their parts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import and_, delete, insert, or_, select, update

from runner_service.domain.artifacts import Artifact, ArtifactPart, ArtifactState
from runner_service.domain.blobs import check_age
from runner_service.domain.errors import ArtifactNotFound, RequestNotFound
from runner_service.domain.ids import is_id
from runner_service.ports.store import Mark
from runner_service.store import answers
from runner_service.store.schema import artifact_parts, artifacts
from runner_service.store.statements import Connection, Query, Row, among, integer, string, word

BEGIN_LOCK = 0x41525446
"""Those who begin uploads go one after the other: two may do so with one request id."""

_COLUMNS = tuple(column for column in artifacts.c if column.name != "request_id")
_READY = artifacts.c.state == word("READY")
_ONE = select(*_COLUMNS).where(artifacts.c.artifact_id == string("artifact_id"))
ONE = Query(_ONE)
LOCKED_ONE = Query(_ONE.with_for_update())
BY_REQUEST = Query(
    select(*_COLUMNS).where(
        artifacts.c.created_by == string("created_by"), artifacts.c.request_id == string("request_id")
    )
)
ADD = Query(insert(artifacts))
CHANGE = Query(
    update(artifacts)
    .values(state=string("state"), size=integer("size"), sha256=string("sha256"))
    .where(artifacts.c.artifact_id == string("artifact_id"))
)
ADD_PART = Query(insert(artifact_parts))
PARTS = Query(
    select(artifact_parts.c.offset, artifact_parts.c.size, artifact_parts.c.blob_key)
    .where(artifact_parts.c.artifact_id == string("artifact_id"))
    .order_by(artifact_parts.c.offset)
)
READY = Query(select(artifacts.c.artifact_id).where(_READY, among(artifacts.c.artifact_id, "artifact_ids")))
# Ids sort by age: both walk an index from where the page before ended.
_PAGE = (
    select(*_COLUMNS)
    .where(_READY, artifacts.c.artifact_id > string("after"))
    .order_by(artifacts.c.artifact_id)
    .limit(integer("limit"))
)
PAGE = Query(_PAGE)
PAGE_OF_JOB = Query(_PAGE.where(artifacts.c.job_id == string("job_id")))
EXPIRED = Query(
    select(artifacts.c.artifact_id)
    .where(
        or_(
            artifacts.c.created_at < integer("created_before"),
            and_(artifacts.c.state == word("UPLOADING"), artifacts.c.created_at < integer("begun_before")),
        )
    )
    .limit(integer("limit"))
)
BLOBS = Query(select(artifact_parts.c.blob_key).where(among(artifact_parts.c.artifact_id, "artifact_ids")))
DROPS = tuple(
    Query(delete(table).where(among(table.c.artifact_id, "artifact_ids"))) for table in (artifact_parts, artifacts)
)


def begin(conn: Connection, artifact: Artifact, request_id: str) -> Artifact:
    if request_id:
        conn.serialize(BEGIN_LOCK)
        row = conn.one(BY_REQUEST, {"created_by": artifact.created_by, "request_id": request_id})
        if row is not None:
            return _artifact(row)
    made = replace(artifact, created_at=conn.now())
    values = {column.name: getattr(made, column.name) for column in _COLUMNS}
    key = request_id or f"\x01{made.artifact_id}"
    conn.run(ADD, {**values, "state": made.state.value, "request_id": key})
    return made


def by_request(conn: Connection, created_by: str, request_id: str) -> Artifact:
    row = conn.one(BY_REQUEST, {"created_by": created_by, "request_id": request_id})
    if row is None:
        raise RequestNotFound(request_id=request_id)
    return _artifact(row)


def add_part(conn: Connection, artifact_id: str, part: ArtifactPart) -> Artifact:
    artifact = get(conn, artifact_id, lock=True)
    if artifact.state is ArtifactState.READY or part.offset != artifact.size:
        return artifact
    check_age(part.blob_key, now=conn.now())
    values = {"artifact_id": artifact_id, "offset": part.offset, "size": part.size, "blob_key": part.blob_key}
    conn.run(ADD_PART, values)
    return _save(conn, replace(artifact, size=artifact.size + part.size))


def finish(conn: Connection, artifact_id: str, sha256: str) -> Artifact:
    artifact = get(conn, artifact_id, lock=True)
    if artifact.state is ArtifactState.READY:
        return artifact
    return _save(conn, replace(artifact, state=ArtifactState.READY, sha256=sha256))


def get(conn: Connection, artifact_id: str, *, lock: bool = False) -> Artifact:
    row = conn.one(LOCKED_ONE if lock else ONE, {"artifact_id": artifact_id}) if is_id(artifact_id) else None
    if row is None:
        raise ArtifactNotFound(artifact_id=artifact_id)
    return _artifact(row)


def parts(conn: Connection, artifact_id: str) -> list[ArtifactPart]:
    rows = conn.all(PARTS, {"artifact_id": artifact_id}) if is_id(artifact_id) else ()
    return [ArtifactPart(offset=row[0], size=row[1], blob_key=row[2]) for row in rows]


def ready(conn: Connection, artifact_ids: Collection[str]) -> list[str]:
    return [row[0] for row in conn.all(READY, {"artifact_ids": conn.array(artifact_ids)})]


def page(conn: Connection, job_id: str | None, after: str, limit: int) -> list[Artifact]:
    values = {"after": after, "limit": limit}
    rows = conn.all(PAGE, values) if job_id is None else conn.all(PAGE_OF_JOB, {**values, "job_id": job_id})
    return [_artifact(row) for row in rows]


def drop(conn: Connection, artifact_id: str, mark: Mark | None) -> list[str]:
    if answers.known(conn, mark) is not None:
        return []
    get(conn, artifact_id, lock=True)
    answers.note(conn, mark)
    return _drop(conn, [artifact_id])


def expire(conn: Connection, seconds: float, upload_seconds: float, limit: int) -> tuple[int, list[str]]:
    now = conn.now()
    values = {
        "created_before": now - round(seconds * 1e6),
        "begun_before": now - round(upload_seconds * 1e6),
        "limit": limit,
    }
    found = [row[0] for row in conn.all(EXPIRED, values)]
    return len(found), _drop(conn, found) if found else []


def _drop(conn: Connection, artifact_ids: Sequence[str]) -> list[str]:
    values = {"artifact_ids": conn.array(artifact_ids)}
    keys = [row[0] for row in conn.all(BLOBS, values)]
    for query in DROPS:
        conn.run(query, values)
    return keys


def _save(conn: Connection, artifact: Artifact) -> Artifact:
    values = {"state": artifact.state.value, "size": artifact.size, "sha256": artifact.sha256}
    conn.run(CHANGE, {"artifact_id": artifact.artifact_id, **values})
    return artifact


def _artifact(row: Row) -> Artifact:
    values = dict(zip((column.name for column in _COLUMNS), row, strict=True))
    return Artifact(**{**values, "state": ArtifactState(values["state"])})
