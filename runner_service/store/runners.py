"""Registered machines: rows as domain objects and back, one by one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, literal_column, or_, select, text, update

from runner_service.domain.errors import InvalidArgument, RunnerDeleted, RunnerNotFound
from runner_service.domain.ids import is_id
from runner_service.domain.jobs import CleanupPolicy
from runner_service.domain.runner_config import DockerConfig, ResourceLimits, RunnerConfig
from runner_service.domain.runners import Load, Resources, Runner, RunnerKind, RunnerProfile, RunnerState, Told
from runner_service.ports.store import Mark
from runner_service.ports.store.runners import RunnerChange
from runner_service.store import answers, runner_events
from runner_service.store.rows import encode_map
from runner_service.store.schema import attempts, runner_profiles, runner_tags, runners
from runner_service.store.schema import runner_events as runner_events_table
from runner_service.store.statements import Connection, Query, Row, among, integer, number, string, word

_encode = json.JSONEncoder(separators=(",", ":")).encode
_UNSEEN = ("sync_number", "paused")
RUNNER_COLUMNS = tuple(column for column in runners.c if column.name not in _UNSEEN)
_ALL = select(*RUNNER_COLUMNS)
_ONE = _ALL.where(runners.c.runner_id == string("runner_id"))
RUNNER = Query(_ONE)
LOCKED_RUNNER = Query(_ONE.with_for_update())
_HEARD = (
    "labels", "slots", "version", "boot_id", "spool_id", "session_id", "sync_number", "last_seen_at", "lease_until",
    "load", "paused",
)  # fmt: skip
SESSION = Query(
    select(runners.c.session_id, runners.c.sync_number)
    .where(runners.c.runner_id == string("runner_id"))
    .with_for_update()
)
SYNC = Query(select(runners.c.sync_number, runners.c.paused).where(runners.c.runner_id == string("runner_id")))
ADD_RUNNER = Query(insert(runners))


def _saving(names: Iterable[str]) -> Query:
    values = {name: bindparam(name, type_=runners.c[name].type) for name in names}
    return Query(update(runners).values(values).where(runners.c.runner_id == string("runner_id")))


# What a Sync brings, and what everything else changes: neither writes over the other.
SAVE_HEARD = _saving(_HEARD)
SAVE_TOLD = _saving(column.name for column in runners.c if not column.primary_key and column.name not in _HEARD)
SAVE_ALL = _saving(
    column.name for column in runners.c if not column.primary_key and column.name not in ("sync_number", "paused")
)
# Walks runners_by_name and stops at the limit.
_ORDERED = _ALL.order_by(runners.c.name, runners.c.runner_id).limit(integer("limit"))
FIRST = Query(_ORDERED)
_BEHIND = or_(
    runners.c.name > string("name"),
    and_(runners.c.name == string("name"), runners.c.runner_id > string("after")),
)
FOLLOWING = Query(_ORDERED.where(runners.c.name >= string("name"), _BEHIND))
# Reads runner_events_deleted.
DELETED = Query(
    select(runner_events_table.c.sequence)
    .where(runner_events_table.c.kind == word("deleted"), runner_events_table.c.runner_id == string("runner_id"))
    .limit(number(1))
)
LOCAL = Query(_ALL.where(runners.c.local == number(1)))
PROFILES = Query(select(runner_profiles).where(among(runner_profiles.c.runner_id, "runner_ids")))
ADD_PROFILE = Query(insert(runner_profiles))
SAVE_PROFILE = Query(
    update(runner_profiles)
    .values(
        {
            column.name: bindparam(column.name, type_=column.type)
            for column in runner_profiles.c
            if not column.primary_key
        }
    )
    .where(runner_profiles.c.runner_id == string("runner_id"))
)
ADD_TAG = Query(insert(runner_tags))
DROP_TAGS = Query(delete(runner_tags).where(runner_tags.c.runner_id == string("runner_id")))


def runner_of(row: Row) -> Runner:
    """A runner from `RUNNER_COLUMNS`."""
    return Runner(
        runner_id=row[0],
        name=row[1],
        state=RunnerState(row[2]),
        registered_at=row[3],
        labels=json.loads(row[4]),
        slots=row[5],
        local=bool(row[6]),
        version=row[7],
        boot_id=row[8],
        spool_id=row[9],
        session_id=row[10],
        last_seen_at=row[11],
        lease_until=row[12],
        kind=RunnerKind(row[13]),
        hosted=bool(row[14]),
        state_since=row[15],
        up_us=row[16],
        told=Told(**json.loads(row[17])),
        most_jobs=row[18],
        load=_load_of(row[19]),
    )


def _load_of(text: str) -> Load:
    cpu, memory, disk, at = json.loads(text)
    return Load(cpu=cpu, memory=memory, disk=disk, at=at)


def _values(runner: Runner) -> dict[str, Any]:
    return {
        "runner_id": runner.runner_id,
        "name": runner.name,
        "registered_at": runner.registered_at,
        "local": int(runner.local),
        **told_values(runner),
        **heard_values(runner),
    }


def told_values(runner: Runner) -> dict[str, Any]:
    told = {name: value for name, value in asdict(runner.told).items() if value != getattr(_NOTHING_TOLD, name)}
    return {
        "state": runner.state.value,
        "kind": runner.kind.value,
        "hosted": int(runner.hosted),
        "state_since": runner.state_since,
        "up_us": runner.up_us,
        "told": _encode(told),
        "most_jobs": runner.most_jobs,
    }


_NOTHING_TOLD = Told()


def heard_values(runner: Runner) -> dict[str, Any]:
    load = runner.load
    return {
        "labels": encode_map(runner.labels),
        "slots": runner.slots,
        "version": runner.version,
        "boot_id": runner.boot_id,
        "spool_id": runner.spool_id,
        "session_id": runner.session_id,
        "last_seen_at": runner.last_seen_at,
        "lease_until": runner.lease_until,
        "load": _encode([load.cpu, load.memory, load.disk, load.at]),
    }


def profile_of(row: Row) -> RunnerProfile:
    return RunnerProfile(
        runner_id=row[0],
        host=row[1],
        port=row[2],
        capabilities=tuple(json.loads(row[3])),
        tags=tuple(json.loads(row[4])),
        metadata=row[5],
        resources=Resources(**dict(zip(("cpu_cores", "memory_gb", "disk_gb"), json.loads(row[6]), strict=True))),
        config=_config_of(row[7]),
        config_at=row[8],
    )


def _config_of(text: str) -> RunnerConfig:
    value = json.loads(text)
    if "cleanup_policy" in value:
        value["cleanup_policy"] = CleanupPolicy(value["cleanup_policy"])
    if "resource_limits" in value:
        value["resource_limits"] = ResourceLimits(**value["resource_limits"])
    if value.get("docker_config") is not None:
        docker = value["docker_config"]
        value["docker_config"] = DockerConfig(**{**docker, "volumes": tuple(docker["volumes"])})
    return RunnerConfig(**value)


def _profile_values(profile: RunnerProfile) -> dict[str, Any]:
    resources = profile.resources
    return {
        "runner_id": profile.runner_id,
        "host": profile.host,
        "port": profile.port,
        "capabilities": _encode(list(profile.capabilities)),
        "tags": _encode(list(profile.tags)),
        "metadata": profile.metadata,
        "resources": _encode([resources.cpu_cores, resources.memory_gb, resources.disk_gb]),
        "config": _encode(asdict(profile.config)),
        "config_at": profile.config_at,
    }


def get(conn: Connection, runner_id: str, *, lock: bool = False) -> Runner:
    row = conn.one(LOCKED_RUNNER if lock else RUNNER, {"runner_id": runner_id}) if is_id(runner_id) else None
    if row is None:
        if is_id(runner_id) and conn.one(DELETED, {"runner_id": runner_id}) is not None:
            raise RunnerDeleted(runner_id=runner_id)
        raise RunnerNotFound(runner_id=runner_id)
    return runner_of(row)


def profiles(conn: Connection, runner_ids: Iterable[str]) -> Mapping[str, RunnerProfile]:
    rows = conn.all(PROFILES, {"runner_ids": conn.array(list(runner_ids))})
    return {row[0]: profile_of(row) for row in rows}


def register(conn: Connection, runner: Runner, profile: RunnerProfile) -> Runner:
    now = conn.now()
    try:
        old = get(conn, runner.runner_id, lock=True)
    except RunnerNotFound:
        runner = replace(runner, registered_at=now, state_since=now)
        conn.run(ADD_RUNNER, {**_values(runner), "sync_number": 0, "paused": 0})
        conn.run(ADD_PROFILE, _profile_values(replace(profile, config_at=now)))
        _save_tags(conn, runner, profile)
        runner_events.record(conn, runner.runner_id, now, "registered", state=runner.state, detail=runner.name)
        return runner
    # A machine that registers again may still run jobs: what keeps them alive is not taken back.
    runner = replace(
        runner,
        registered_at=old.registered_at,
        session_id=runner.session_id or old.session_id,
        boot_id=runner.boot_id or old.boot_id,
        spool_id=runner.spool_id or old.spool_id,
        last_seen_at=max(runner.last_seen_at, old.last_seen_at),
        lease_until=max(runner.lease_until, old.lease_until),
        state_since=old.state_since,
        up_us=old.up_us,
    )
    conn.run(SAVE_ALL, _values(runner))
    return runner


# Read attempts_bound and attempts_active.
_ACTIVE = literal_column("attempts.state") != word("FINISHED")
ACTIVE_BOUND = Query(
    select(attempts.c.bound_to, func.count())
    .where(_ACTIVE, literal_column("attempts.bound_to") != text("''"), among(attempts.c.bound_to, "runner_ids"))
    .group_by(attempts.c.bound_to)
)
ACTIVE_OWN = Query(
    select(attempts.c.runner_id, func.count())
    .where(_ACTIVE, among(attempts.c.runner_id, "runner_ids"), attempts.c.bound_to == text("''"))
    .group_by(attempts.c.runner_id)
)


def active_of(conn: Connection, runner_ids: Sequence[str]) -> Mapping[str, int]:
    """Attempts of the runners' jobs that have not ended; nothing is said of those without any."""
    values = {"runner_ids": conn.array(runner_ids)}
    found: dict[str, int] = {}
    for runner_id, count in [*conn.all(ACTIVE_BOUND, values), *conn.all(ACTIVE_OWN, values)]:
        found[runner_id] = found.get(runner_id, 0) + count
    return found


def _save_tags(conn: Connection, runner: Runner, profile: RunnerProfile) -> None:
    of = {"registered_at": runner.registered_at, "runner_id": runner.runner_id}
    conn.many(ADD_TAG, [{"tag": tag, **of} for tag in dict.fromkeys(profile.tags)])


def change(conn: Connection, runner_id: str, move: RunnerChange, mark: Mark | None) -> tuple[Runner, RunnerProfile]:
    """Lets ``move`` decide on the locked row what it becomes, and records what is different then."""
    known = answers.known(conn, mark)
    before = get(conn, runner_id, lock=True)
    profile = profiles(conn, [runner_id])[runner_id]
    if known is not None:
        return before, profile
    now = conn.now()
    made = move(before, profile, now, active_of(conn, [runner_id]).get(runner_id, 0))
    if made.runner != before:
        save_told(conn, before, made.runner, now, made.reason)
    if made.profile != profile:
        conn.run(SAVE_PROFILE, _profile_values(made.profile))
        if made.profile.tags != profile.tags:
            conn.run(DROP_TAGS, {"runner_id": runner_id})
            _save_tags(conn, made.runner, made.profile)
    for kind, detail in made.events:
        runner_events.record(conn, runner_id, now, kind, state=made.runner.state, detail=detail)
    answers.note(conn, mark)
    return made.runner, made.profile


def save_told(conn: Connection, before: Runner, after: Runner, now: int, detail: str = "") -> None:
    """Writes everything but what a Sync brings, with an event when the state is another."""
    values = {
        "runner_id": after.runner_id,
        "name": after.name,
        "registered_at": after.registered_at,
        "local": int(after.local),
        **told_values(after),
    }
    conn.run(SAVE_TOLD, values)
    if after.state is not before.state:
        runner_events.record(
            conn, after.runner_id, now, "state", old_state=before.state, state=after.state, detail=detail
        )


def save_heard(conn: Connection, runner: Runner, *, sync_number: int, paused: bool) -> None:
    values = {**heard_values(runner), "sync_number": sync_number, "paused": int(paused)}
    conn.run(SAVE_HEARD, {"runner_id": runner.runner_id, **values})


def sync_of(conn: Connection, runner_id: str) -> tuple[int, bool]:
    """The number of the last Sync that was taken from the runner's session, and whether it said that it is paused."""
    row = conn.one(SYNC, {"runner_id": runner_id})
    return (int(row[0]), bool(row[1])) if row else (0, False)


def locked_session(conn: Connection, runner_id: str) -> tuple[str, int]:
    """The session that holds the runner's identity, and the number of the last Sync that was taken from it. Of no
    runner: none. The runner's row is locked."""
    row = conn.one(SESSION, {"runner_id": runner_id}) if is_id(runner_id) else None
    return (row[0], int(row[1])) if row else ("", 0)


def local_runners(conn: Connection) -> Sequence[Runner]:
    """The servers' own, the one that was heard of last first."""
    found = [runner_of(row) for row in conn.all(LOCAL)]
    return sorted(found, key=lambda runner: runner.last_seen_at, reverse=True)


def list_runners(conn: Connection, limit: int, after: str) -> list[Runner]:
    size = limit or 2**62
    if not after:
        return [runner_of(row) for row in conn.all(FIRST, {"limit": size})]
    try:
        name = get(conn, after).name
    except RunnerNotFound:
        raise InvalidArgument(field="after", problem="it is not a runner of this list") from None
    return [runner_of(row) for row in conn.all(FOLLOWING, {"limit": size, "name": name, "after": after})]
