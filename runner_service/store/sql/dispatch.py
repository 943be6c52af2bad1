"""Claims, leases and reports: each method hands one query function to the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner_service.domain.dispatch import Along, Assignment, Beat, BeatAnswer, Report, Reported, Want
from runner_service.store import claims, dispatch, journal
from runner_service.store.combiner import Combiner
from runner_service.store.engine import Engine
from runner_service.store.exchanges import Exchange, exchange_all


class SqlDispatch:
    """`DispatchStore`."""

    def __init__(self, engine: Engine, *, before_reports: Callable[[], None]) -> None:
        """``before_reports``: what their claims should find is written along."""
        self._engine = engine
        self._claims = Combiner(engine, claims.claim_all, limit=256)
        self._reports = Combiner(engine, exchange_all, limit=64, before=before_reports)

    async def beat(self, beat: Beat) -> BeatAnswer:
        return await self._engine.write(dispatch.beat, beat)

    async def claim(self, wants: Sequence[Want]) -> Sequence[Assignment]:
        return await self._claims.submit(wants) if wants else []

    async def release_unconfirmed(self, *, older_than_seconds: float) -> Sequence[str]:
        return await self._engine.write(dispatch.release_unconfirmed, older_than_seconds)

    async def report(self, reports: Sequence[Report], *, along: Along | None = None) -> Reported:
        prepared = [(one, journal.pieces_of(one.first_sequence, one.records, one.journal)) for one in reports]
        return await self._reports.submit(Exchange(prepared, along))

    async def expire_leases(self, *, kill_budget_seconds: float) -> Sequence[str]:
        return await self._engine.write(dispatch.expire_leases, kill_budget_seconds)

    async def expire_queued(self) -> Sequence[str]:
        return await self._engine.write(dispatch.expire_queued)

    async def renew_leases(self, *, lease_seconds: float) -> None:
        await self._engine.write(dispatch.renew_leases, lease_seconds)
