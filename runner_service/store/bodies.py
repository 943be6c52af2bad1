"""Bodies of jobs, with a memory of the latest: they never change, and every floor of dispatch asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select

from runner_service.store.rows import Body, decode_body
from runner_service.store.schema import job_bodies
from runner_service.store.statements import Connection, Query, among

BODIES = Query(select(job_bodies.c.job_id, job_bodies.c.body).where(among(job_bodies.c.job_id, "job_ids")))
LARGEST = 8 * 1024
"""Characters of a body that is worth remembering; larger ones are rare and would make the memory heavy."""
GENERATION = 1024
"""Bodies that are remembered at least; twice as many at most."""


class BodyCache:
    """The latest bodies in two generations. Used by all threads of an engine: each step is one dictionary operation."""

    def __init__(self) -> None:
        self._young: dict[str, Body] = {}
        self._old: dict[str, Body] = {}

    def get(self, job_id: str) -> Body | None:
        return self._young.get(job_id) or self._old.get(job_id)

    def put(self, job_id: str, body: Body, size: int) -> None:
        if size <= LARGEST:
            if len(self._young) >= GENERATION:
                self._old, self._young = self._young, {}
            self._young[job_id] = body


def cache_of(conn: Connection) -> BodyCache:
    cache = conn.caches.get(BodyCache)
    if cache is None:
        cache = conn.caches.setdefault(BodyCache, BodyCache())
    assert isinstance(cache, BodyCache)
    return cache


def load(conn: Connection, job_ids: Iterable[str]) -> Mapping[str, Body]:
    """The bodies of jobs that exist."""
    cache = cache_of(conn)
    found: dict[str, Body] = {}
    missing = []
    for job_id in job_ids:
        body = cache.get(job_id)
        if body is None:
            missing.append(job_id)
        else:
            found[job_id] = body
    if missing:
        for job_id, text in conn.all(BODIES, {"job_ids": conn.array(missing)}):
            found[job_id] = body = decode_body(text)
            cache.put(job_id, body, len(text))
    return found
