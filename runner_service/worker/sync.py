"""The Sync loop: heartbeat, claim, cancel and drain in one call, one of which is always under way."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from runner.v1 import dispatch_service_pb2 as dispatch
from runner.v1 import runner_service_pb2 as runners
from runner_client.contact import misunderstanding
from runner_service.domain import crashpoints
from runner_service.domain.dispatch import DispatchTimes
from runner_service.worker.attempts import Attempts
from runner_service.worker.checks import capabilities, run_checks
from runner_service.worker.failures import Failure, failure_of
from runner_service.worker.identity import (
    Identity,
    end_registration,
    identity_of_token,
    is_local,
    load_identity,
    registration_id,
    store_identity,
)
from runner_service.worker.link import Link, SyncCall, pause
from runner_service.worker.load import Meter, resources
from runner_service.worker.orders import Orders
from runner_service.worker.times import ExitCode, WorkerTimes
from runner_service.worker.wire import seconds_of

log = logging.getLogger(__name__)

_OTHER_REGISTRATION = (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND)
"""The registration that was begun is no more, or was another: this machine has changed since."""

_FREE_REPLIES = 5
"""So many replies in a row may bring nothing new and not have been parked before the worker slows down."""
_UNPARKED_SECONDS = 0.05
_FIRST_LOOK_SECONDS = 1.0
"""Before the first contact, without a connection for this long: looks whether the server speaks as this side does."""
_PATIENCE_SECONDS = 3.0
"""Without a connection for this long, the log says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a worker says about itself."""

    data_directory: Path
    name: str
    labels: Mapping[str, str]
    slots: int
    session_id: str
    boot_id: str
    spool_id: Callable[[], str]
    """Asked anew each time: the executor's memory may have to be made anew."""
    version: str
    join_token: str


class SyncLoop:
    """Tells the server what there is, and has done what it wants."""

    def __init__(
        self,
        profile: Profile,
        *,
        link: Link,
        attempts: Attempts,
        orders: Orders,
        times: WorkerTimes,
        monotonic: Callable[[], float],
        give_up: Callable[[ExitCode], None],
    ) -> None:
        """
        Args:
            give_up: Called at most once, when the worker has to end; the loop ends then.
        """
        self._profile = profile
        self._link = link
        self._attempts = attempts
        self._orders = orders
        self._times = times
        self._monotonic = monotonic
        self._give_up = give_up
        self._number = 0
        self._replied = False
        """The server's orders for what was adopted, self-stop deadlines and all, have arrived."""
        self._lease = DispatchTimes().lease
        self._register_anew = False
        self._rejoin = False
        """The credential has expired."""
        self._idle_replies = 0
        self.ever_in_contact = False
        self.away_since: float | None = asyncio.get_running_loop().time()
        """On the loop's clock; None while in contact."""
        self._told_away = False
        self._listed: list[str] = []
        """What the last request listed."""
        self._meter = Meter(profile.data_directory)
        self._paused = False
        self._checked = 0
        """Number of the health check that was made last, with what it found until the server has it."""
        self._checks: dict[str, dispatch.MachineCheck] = {}
        self._parked: SyncCall | None = None
        self._repeat = False
        self._declines = 0
        self._declines_told = 0
        orders.declined = self._declined

    @property
    def owes_word(self) -> bool:
        """The server may believe something to run here that was never started."""
        return self._declines > self._declines_told

    def _declined(self) -> None:
        self._declines += 1
        self.repeat()

    def repeat(self) -> None:
        """Gives up the Sync that is under way for one that says what is true now. Only for what cannot wait, as it
        costs the server a call: a worker that stops, and is still given work as long as nobody knows."""
        if self._parked is not None:
            self._repeat = self._parked.cancel()

    async def run(self) -> None:
        """Syncs until cancelled, or until the worker has to end."""
        backoff = self._link.backoff()
        while True:
            if why := await self._connected():
                log.error("%s", why, extra={"action": "misunderstood"})
                self._give_up(ExitCode.USAGE)
                return
            try:
                if not self._link.runner_id or self._register_anew or self._rejoin:
                    await self._identify()
                sent = self._monotonic()
                reply = await self._sync()
                if reply is None:
                    continue
            except grpc.aio.AioRpcError as error:
                code = self._verdict(error)
                if code is not None:
                    self._give_up(code)
                    return
                self._lost_contact(f"{error.code().name}: {error.details()}")
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            self._found_contact()
            await self._apply(reply, sent)
            self._replied = True

    async def _sync(self) -> dispatch.SyncResponse | None:
        """One Sync; None when it was given up to be repeated."""
        request, declines = self._request(), self._declines
        self._listed = [held.attempt_id for held in request.attempts]
        self._parked = self._link.sync(request, self._lease + self._times.sync_margin)
        try:
            reply = await self._parked
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._repeat or (task is not None and task.cancelling()):
                raise
            return None
        finally:
            self._parked, self._repeat = None, False
        if self._declines_told != declines:
            self._declines_told = declines
            self._attempts.fewer.set()
        return reply

    async def _connected(self) -> str:
        """Returns once there is a connection; or why there can be none, before the first contact ever."""
        if self._link.connected:
            return ""
        impatience = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._lost_contact, "no connection")
        ready = asyncio.ensure_future(self._link.ready())
        try:
            while not self.ever_in_contact and not is_local(self._link.target):
                done, _ = await asyncio.wait((ready,), timeout=_FIRST_LOOK_SECONDS)
                if done or (why := await misunderstanding(self._link.target, self._link.tls)):
                    return "" if done else why
            await ready
        finally:
            ready.cancel()
            impatience.cancel()
        return ""

    async def _apply(self, reply: dispatch.SyncResponse, sent: float) -> None:
        parked = seconds_of(reply.parked)
        lease_end = None
        if reply.credential:
            self._succeed(reply.credential)
        if reply.HasField("lease"):
            self._lease = seconds_of(reply.lease)
            # From before the server began to count, so that this count ends before the server's.
            lease_end = sent + parked + self._lease
        news = await self._orders.apply(reply, self._listed, lease_end)
        news |= await self._heed(reply.control)
        if reply.HasField("retry_after"):
            await asyncio.sleep(seconds_of(reply.retry_after))
        if news or parked >= _UNPARKED_SECONDS:
            self._idle_replies = 0
            return
        # A server that repeats itself, e.g. FORGET until a tree is dead, is not asked as fast as it answers.
        self._idle_replies += 1
        if self._idle_replies > _FREE_REPLIES:
            self._attempts.fewer.clear()
            await pause(min(0.5, 0.005 * 2.0 ** (self._idle_replies - _FREE_REPLIES)), self._attempts.fewer)

    async def _heed(self, control: dispatch.WorkerControl) -> bool:
        """Does what the server wants of the worker as a whole; True when the next Sync says something new of it."""
        if control.restart:
            self._give_up(ExitCode.RESTART)
            return False
        self._checks = {}  # The server has them.
        news = control.paused is not self._paused
        if news:
            self._paused = control.paused
            said = "takes no work from now on" if control.paused else "takes work again"
            action = "paused" if control.paused else "resumed"
            log.info("As the server wants, this runner %s.", said, extra={"action": action})
        if control.check_number > self._checked:
            self._checks = await run_checks(self._profile.data_directory)
            self._checked = control.check_number
            news = True
        return news

    def _request(self) -> dispatch.SyncRequest:
        self._number += 1
        self._link.sync_number = self._number
        takes_work = self._orders.accepting and not self._orders.tainted
        return dispatch.SyncRequest(
            runner_id=self._link.runner_id,
            session_id=self._profile.session_id,
            boot_id=self._profile.boot_id,
            spool_id=self._profile.spool_id(),
            version=self._profile.version,
            labels=self._profile.labels,
            slots=self._profile.slots if takes_work else 0,
            attempts=self._attempts.listing(),
            paused=self._paused,
            load=self._meter.load(),
            check_number=self._checked,
            checks=self._checks,
            sync_number=self._number,
            changes_only=self._replied,
            reports_heard=self._link.reports_heard,
        )

    async def _identify(self) -> None:
        """Takes the stored identity, or registers. Raises AioRpcError."""
        profile = self._profile
        identity = load_identity(profile.data_directory)
        if identity is None and (identity := identity_of_token(profile.join_token, self._link.target)) is not None:
            store_identity(profile.data_directory, identity)
        registers = identity is None or self._register_anew or not identity.holds_at(self._link.target)
        if identity is not None and self._rejoin and not registers:
            identity = await self._link.rejoin(identity, profile.join_token)
            store_identity(profile.data_directory, identity)
            log.info("Joined again: the credential had expired.", extra={"action": "rejoined"})
        elif identity is None or registers:
            request = runners.RegisterRunnerRequest(
                name=profile.name,
                labels=profile.labels,
                slots=max(1, profile.slots),
                host=profile.labels.get("hostname", ""),
                capabilities=await asyncio.to_thread(capabilities, profile.labels),
                metadata=json.dumps({name: profile.labels.get(name, "") for name in ("os", "arch")}),
                resources=resources(profile.data_directory),
                request_id=registration_id(profile.data_directory, self._link.target),
            )
            try:
                identity = await self._link.register(request, profile.join_token)
            except grpc.aio.AioRpcError as error:
                if error.code() in _OTHER_REGISTRATION:
                    end_registration(profile.data_directory)
                raise
            store_identity(profile.data_directory, identity)
            end_registration(profile.data_directory)
            self._register_anew = False
            log.info(
                "Registered as %s (%s).",
                profile.name,
                identity.runner_id,
                extra={"action": "registered", "runner_id": identity.runner_id},
            )
        self._rejoin = False
        self._link.use(identity)

    def _succeed(self, credential: str) -> None:
        """Shows another credential from now on: on disk first, for the old one is void once the new one was shown."""
        crashpoints.reached("worker.given_credential")
        identity = Identity(runner_id=self._link.runner_id, credential=credential, server=self._link.target)
        store_identity(self._profile.data_directory, identity)
        crashpoints.reached("worker.kept_credential")
        self._link.use(identity)

    def _verdict(self, error: grpc.aio.AioRpcError) -> ExitCode | None:
        """Decides what follows a failed call; the code with which the worker has to end, None to try again."""
        failure = failure_of(error)
        if failure is Failure.STALE_WORKER:
            log.error(
                "A later worker has taken over this runner's identity: this one stops, and its jobs with it.",
                extra={"action": "stale_worker"},
            )
            return ExitCode.STALE
        if failure is Failure.DELETED_RUNNER and not is_local(self._link.target):
            log.error(
                "This runner was deleted: its worker stops, and its jobs with it. Join again to be a new one.",
                extra={"action": "deleted"},
            )
            return ExitCode.DELETED
        if failure in (Failure.UNKNOWN_RUNNER, Failure.DELETED_RUNNER):
            # Nobody owns what is held: under the new identity the server will have all of it forgotten.
            self._register_anew = True
        elif self._rejoin:
            return self._not_let_in_again(failure, error.details())
        elif failure is Failure.EXPIRED:
            self._rejoin = True
        elif failure is Failure.REFUSED:
            if not self._register_anew and self._link.runner_id and not len(self._attempts):
                # E.g. the server has a new store. With nothing in hand, nothing is lost by a new identity.
                self._register_anew = True
            elif not self.ever_in_contact:
                log.error(
                    "The server at %s refuses this worker (%s). Join with a token that it knows.",
                    self._link.target,
                    error.details(),
                    extra={"action": "refused"},
                )
                return ExitCode.REFUSED
        return None

    def _not_let_in_again(self, failure: Failure, why: str | None) -> ExitCode | None:
        """What follows a RejoinRunner that failed."""
        # Unless nobody answered, the next try is a Sync: a server whose clock was wrong may take the credential then.
        self._rejoin = failure is Failure.RETRY
        if failure is Failure.BAD_REQUEST and not len(self._attempts):
            self._register_anew = True  # It is not even known as an old one.
        elif failure in (Failure.REFUSED, Failure.EXPIRED) and not self.ever_in_contact:
            log.error(
                "The credential of this runner has expired, and the server at %s does not let it in again without a "
                "join token (%s). Start it with one in RUNNER_TOKEN.",
                self._link.target,
                why,
                extra={"action": "expired"},
            )
            return ExitCode.REFUSED
        return None

    def _found_contact(self) -> None:
        if self.away_since is not None:
            log.info("In contact with the server at %s.", self._link.target, extra={"action": "contact"})
        self.away_since, self.ever_in_contact, self._told_away = None, True, False

    def _lost_contact(self, why: str) -> None:
        if self.away_since is None:
            self.away_since = asyncio.get_running_loop().time()
        if not self._told_away:
            self._told_away = True
            log.warning(
                "No contact with the server at %s (%s); trying again.",
                self._link.target,
                why,
                extra={"action": "contact_lost"},
            )
