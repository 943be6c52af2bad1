"""Wake-up calls between those who change something and those who wait for it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

QUEUE = "queue"
"""A job may have become assignable."""
EVENTS = "events"
"""A job event was committed."""


RUNNERS = "runners"
"""An event of a runner was committed."""
AGENT_REPORTS = "agent-reports"
"""An agent has reported."""


def job_topic(job_id: str) -> str:
    """The job changed: state, cancel or a new attempt."""
    return f"job/{job_id}"


def end_topic(job_id: str) -> str:
    """The job has become terminal. Published beside the job's own topic."""
    return f"end/{job_id}"


def runner_topic(runner_id: str) -> str:
    """What the runner should do changed."""
    return f"runner/{runner_id}"


def runner_state_topic(runner_id: str) -> str:
    """The runner is in another state, or has answered."""
    return f"runner-state/{runner_id}"


def feed_topic(runner_id: str) -> str:
    """The runner's feed grew, or is gone."""
    return f"feed/{runner_id}"


def log_topic(attempt_id: str) -> str:
    """The attempt's log grew or was sealed."""
    return f"log/{attempt_id}"


def input_topic(job_id: str) -> str:
    """The job was given input, or its processes have read some."""
    return f"input/{job_id}"


class Waiter(Protocol):
    """One who waits, subscribed to some topics."""

    async def wait(self, timeout: float) -> bool:
        """Returns True once a topic was published since the last call (or since subscribing), False after ``timeout``
        seconds. Signals in between are kept, as one: look at the store, then wait, and nothing is missed.

        The implementation may cap ``timeout`` at its poll interval, so that a lost hint costs a moment, never a hang.
        """
        ...

    def wake(self) -> None:
        """Ends a `wait` that is under way, as if its time were over; without one it does nothing."""
        ...


class Signals(Protocol):
    """Publishes hints. A hint carries no data and may be lost between servers, never within one."""

    def publish(self, topics: Iterable[str]) -> None:
        """Wakes all who wait for one of ``topics``. Called on the event loop, after the commit. Never blocks."""
        ...

    def subscribe(self, *topics: str) -> AbstractContextManager[Waiter]:
        """Subscribes until the context is left. Subscribe first, look second, wait third."""
        ...

    def followed(self, topic: str) -> bool:
        """Tells whether anybody on this server waits for ``topic``. A hint: it may change at once."""
        ...
