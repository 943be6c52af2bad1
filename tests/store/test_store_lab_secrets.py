"""`LabSecretStore`, on both engines."""

from __future__ import annotations

from store_house import MovingClock

from runner_service.domain.lab_secrets import LabSecret, SecretPlace, places_of
from runner_service.store import SqlStore

MINE, YOURS = SecretPlace("me", "a/b"), SecretPlace("you/x", "a/b")


def secret(place: SecretPlace, sealed: bytes = b"\x00sealed", **fields: object) -> LabSecret:
    return LabSecret(place=place, sealed=sealed, **fields)  # type: ignore[arg-type]


async def test_each_client_has_its_own(store: SqlStore) -> None:
    await store.lab_secrets.put(secret(MINE))
    await store.lab_secrets.put(secret(YOURS, b"yours"))
    await store.lab_secrets.put(secret(MINE, b"changed"))
    assert set(await store.lab_secrets.accessible({MINE, YOURS, SecretPlace("me", "x")})) == {MINE, YOURS}
    assert await store.lab_secrets.take({MINE, YOURS}, job_id="1") == {MINE: b"changed", YOURS: b"yours"}
    assert await store.lab_secrets.take({MINE}, job_id="2") == {MINE: b"changed"}
    for _ in range(2):
        await store.lab_secrets.delete(MINE)
    assert set(await store.lab_secrets.accessible({MINE, YOURS})) == {YOURS}
    assert await store.lab_secrets.take({MINE}, job_id="1") == {}


async def test_an_ephemeral_one_belongs_to_the_first_job_that_takes_it(store: SqlStore, clock: MovingClock) -> None:
    await store.lab_secrets.put(secret(MINE, ephemeral=True))
    assert await store.lab_secrets.expire(taken_before=clock.now() + 1) == 0
    assert await store.lab_secrets.take({MINE}, job_id="1") == {MINE: b"\x00sealed"}
    assert await store.lab_secrets.take({MINE}, job_id="2") == {}
    assert not await store.lab_secrets.accessible({MINE})
    clock.advance(5)
    assert await store.lab_secrets.expire(taken_before=clock.now() - 6_000_000) == 0
    assert await store.lab_secrets.take({MINE}, job_id="1") == {MINE: b"\x00sealed"}
    assert await store.lab_secrets.expire(taken_before=clock.now()) == 1
    assert await store.lab_secrets.take({MINE}, job_id="1") == {}


async def test_an_expired_one_is_no_longer_there(store: SqlStore, clock: MovingClock) -> None:
    await store.lab_secrets.put(secret(MINE, expires_at=clock.now() + 2_000_000))
    clock.advance(1)
    assert await store.lab_secrets.accessible({MINE})
    clock.advance(1)
    assert not await store.lab_secrets.accessible({MINE})
    assert await store.lab_secrets.take({MINE}, job_id="1") == {}
    assert await store.lab_secrets.expire(taken_before=0) == 1


def test_a_reference_leads_back_to_its_place() -> None:
    references = [MINE.reference(), YOURS.reference(), "token"]
    assert places_of(references) == {references[0]: MINE, references[1]: YOURS}
