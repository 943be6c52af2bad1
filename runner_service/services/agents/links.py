"""The links to all agents that are alive."""

from __future__ import annotations

import asyncio
import logging

from runner_service.domain.agents import AgentView
from runner_service.domain.jobs import JobState
from runner_service.ports.signals import Signals
from runner_service.ports.store import AgentStore
from runner_service.services.agents.link import AgentLink
from runner_service.services.agents.ports import Stdin
from runner_service.services.images import Images
from runner_service.services.logs import LogReader

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Between looks for agents that another server has made."""
ALIVE = frozenset({JobState.QUEUED, JobState.ASSIGNED, JobState.RUNNING})


class AgentLinks:
    """Holds a link to every agent whose job is not over."""

    def __init__(self, *, store: AgentStore, images: Images, reader: LogReader, stdin: Stdin, signals: Signals) -> None:
        self._store = store
        self._images = images
        self._reader = reader
        self._stdin = stdin
        self._signals = signals
        self._links: dict[str, tuple[AgentLink, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Keeps the links until cancelled."""
        try:
            while True:
                try:
                    for view in await self._store.list(states=ALIVE):
                        self.of(view)
                except Exception:
                    log.exception("cannot look for agents, trying again", extra={"action": "agents_unreadable"})
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends all links. May be called twice."""
        tasks = [task for _, task in self._links.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def of(self, view: AgentView) -> AgentLink:
        """The link to an agent that is alive; begins to read its output where it was last recorded."""
        agent_id = view.agent.agent_id
        known = self._links.get(agent_id)
        if known is not None:
            return known[0]

        async def package() -> bytes:
            return await self._images.files(view.agent.manifest)

        link = AgentLink(
            view,
            store=self._store,
            reader=self._reader,
            stdin=self._stdin,
            signals=self._signals,
            package=lambda: asyncio.ensure_future(package()),
        )
        task = asyncio.create_task(link.run())
        self._links[agent_id] = (link, task)
        task.add_done_callback(lambda _: self._links.pop(agent_id, None))
        return link
