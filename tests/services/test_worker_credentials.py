"""Credentials of workers: an end, the next in time, a reply that is lost, a clock that jumps, a runner that goes."""

from __future__ import annotations

import pytest
from services_house import House

from runner_service.domain.errors import (
    CredentialExpired,
    CredentialsInvalid,
    InvalidArgument,
    RunnerDeleted,
)
from runner_service.domain.principals import Principal
from runner_service.services.auth import Auth, authenticator
from runner_service.services.runners import REGISTRATION_PREFIX, NewRunner, RunnerCredentials
from runner_service.services.sealing import Sealer

HOUR = 3600.0
DAY = 24 * HOUR


class Servers:
    """Two of them over one store, each with what it believes, and the time that passes for all."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.time = 1000.0
        self.auth, self.other = self.server(), self.server()

    def server(self) -> Auth:
        return Auth(keys=[], workers=self.house.store.worker_credentials, monotonic=lambda: self.time)

    def pass_(self, seconds: float) -> None:
        self.time += seconds
        self.house.clock.advance(seconds)

    async def register(self) -> str:
        return (await self.house.runners.registry.register(NewRunner(name="one")))[1]

    async def sync(self, credential: str, auth: Auth | None = None) -> str:
        """What a Sync that shows this brings to be shown from then on."""
        principal = await (auth or self.auth).authenticate(f"Bearer {credential}")
        return await self.house.runners.credentials.next_of(principal) or credential


@pytest.fixture
def servers(house: House) -> Servers:
    return Servers(house)


async def test_a_worker_in_contact_is_given_the_next_after_half_of_its_life(servers: Servers) -> None:
    credential = shown = await servers.register()
    for _ in range(4):
        servers.pass_(DAY / 2 - 60)
        assert await servers.sync(shown) == shown, "not yet"
        servers.pass_(120)
        following = await servers.sync(shown)
        assert following != shown
        assert following[:39] == credential[:39], "it is the same runner's"
        shown = following


async def test_as_long_as_the_old_one_is_shown_the_same_one_follows_it(servers: Servers) -> None:
    credential = await servers.register()
    servers.pass_(DAY / 2 + 60)
    following = await servers.sync(credential)
    for server in (servers.auth, servers.other, servers.server()):
        assert await servers.sync(credential, server) == following, "the reply may have been lost"


async def test_the_old_one_is_good_for_a_minute_and_then_refused_with_a_reason_everywhere(servers: Servers) -> None:
    credential = await servers.register()
    servers.pass_(DAY / 2 + 60)
    following = await servers.sync(credential)
    await servers.sync(credential, servers.other)
    assert await servers.sync(following) == following
    for _ in range(2):
        servers.pass_(29)
        for server in (servers.auth, servers.other, servers.server()):
            assert await servers.sync(credential, server) == credential, "nothing follows what was followed"
    servers.pass_(3)
    for server in (servers.auth, servers.other, servers.server()):
        with pytest.raises(CredentialExpired):
            await servers.sync(credential, server)
        assert await servers.sync(following, server) == following


async def test_one_that_nobody_renewed_is_refused_with_a_reason_to_the_second(servers: Servers) -> None:
    credential = await servers.register()
    servers.pass_(DAY - 1)
    await servers.sync(credential)
    servers.pass_(2)
    for server in (servers.auth, servers.other):
        with pytest.raises(CredentialExpired):
            await servers.sync(credential, server)


async def test_who_stayed_away_comes_back_as_the_same_runner_by_what_has_expired(servers: Servers) -> None:
    credential = await servers.register()
    runner_id = credential[3:39]
    servers.pass_(30 * DAY)
    anew = servers.house.runners.credentials.anew
    again = await anew(runner_id, credential)
    assert await anew(runner_id, REGISTRATION_PREFIX + credential) == again, "the answer may have been lost"
    assert (await servers.auth.authenticate(f"Bearer {again}")).runner_id == runner_id
    stranger = await servers.register()
    for wrong in ("", "x", "rw_\udcff", stranger, credential[:-1]):
        with pytest.raises(InvalidArgument, match="credential"):
            await anew(runner_id, wrong)


async def test_a_clock_that_jumps_takes_it_from_nobody_in_contact_and_gives_nobody_more(servers: Servers) -> None:
    credential, clock = await servers.register(), servers.house.clock
    await servers.sync(credential)
    clock.advance(400 * DAY)
    servers.time += 60
    assert await servers.sync(credential) == credential
    clock.advance(-800 * DAY)
    servers.time += DAY - 120
    await servers.sync(credential)
    servers.time += 120
    with pytest.raises(CredentialExpired):
        await servers.sync(credential)


async def test_a_runner_that_is_deleted_takes_all_of_them_with_it(servers: Servers) -> None:
    credential = await servers.register()
    servers.pass_(DAY / 2 + 60)
    following = await servers.sync(credential)
    await servers.sync(following)
    await servers.house.runners.registry.delete(credential[3:39], force=False)
    servers.pass_(authenticator.CACHE_SECONDS + 1)
    for shown in (credential, following):
        with pytest.raises(RunnerDeleted):
            await servers.sync(shown)
    with pytest.raises(RunnerDeleted):
        await servers.house.runners.credentials.anew(credential[3:39], following)


async def test_what_was_offered_under_another_key_of_the_service_is_followed_by_one_that_can_be_told(
    servers: Servers,
) -> None:
    credential = await servers.register()
    servers.pass_(DAY / 2 + 60)
    principal: Principal = await servers.auth.authenticate(f"Bearer {credential}")
    before = await servers.house.runners.credentials.next_of(principal)
    changed = RunnerCredentials(store=servers.house.store.worker_credentials, sealer=Sealer(b"\1" * 32))
    after = await changed.next_of(principal)
    assert after != before
    assert await servers.sync(after) == after
    with pytest.raises(CredentialsInvalid):
        await servers.sync(after + "x")
