"""The supervisor's one thread: readiness, timers, signals, and work at the end of a turn."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic_ns

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MOST_NS = 3600 * SECOND
"""Of one wait; epoll takes 24 days."""

Callback = Callable[[], None]


class Timer:
    """A call to come, unless it is cancelled."""

    __slots__ = ("_loop", "callback")

    def __init__(self, loop: Loop, callback: Callback) -> None:
        self._loop = loop
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._loop.timer_cancelled()


class Loop:
    """An epoll loop. Handlers get the event mask; one call of a handler should do a bounded piece of work."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[int, int, Timer]] = []
        self._count = 0
        self._cancelled = 0
        self._running = False
        self.signals: dict[int, Callback] = {}
        self.end_of_turn: list[Callback] = []
        """Called after every turn."""
        self._wakeup, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        self.add(self._wakeup, select.EPOLLIN, self._on_signal)

    def on_signal(self, number: signal.Signals, callback: Callback) -> None:
        signal.signal(number, lambda *_: None)
        self.signals[number] = callback

    def add(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def remove(self, fd: int) -> None:
        """Forgets a file; to be called before it is closed. Harmless when it is not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_at(self, when_ns: int, callback: Callback) -> Timer:
        timer = Timer(self, callback)
        self._count += 1
        heappush(self._timers, (when_ns, self._count, timer))
        return timer

    def call_later(self, delay_ns: int, callback: Callback) -> Timer:
        return self.call_at(monotonic_ns() + delay_ns, callback)

    def timer_cancelled(self) -> None:
        """Keeps the timeouts of short jobs, cancelled long before they are due, from piling up."""
        self._cancelled += 1
        if self._cancelled > 64 + len(self._timers) // 2:
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapify(self._timers)
            self._cancelled = 0

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        self._running = True
        while self._running:
            for fd, mask in self._epoll.poll(self._next_timer()):
                handler = self._handlers.get(fd)  # An earlier handler of this turn may have removed it.
                if handler is not None:
                    handler(mask)
            now = monotonic_ns()
            while self._timers and self._timers[0][0] <= now:
                timer = heappop(self._timers)[2]
                callback, timer.callback = timer.callback, None
                if callback is not None:
                    callback()
            for callback in self.end_of_turn:
                callback()

    def _next_timer(self) -> float:
        while self._timers and self._timers[0][2].callback is None:
            heappop(self._timers)
        if not self._timers:
            return -1
        # Rounded up to the millisecond of epoll, else the loop would spin through the last one. What is so far off that
        # epoll has no number for it is looked at again before.
        wait_ns = min(MOST_NS, self._timers[0][0] - monotonic_ns())
        return max(0, wait_ns + MILLISECOND - 1) // MILLISECOND / 1000

    def _on_signal(self, _mask: int) -> None:
        for number in set(os.read(self._wakeup, 4096)):
            callback = self.signals.get(number)
            if callback is not None:
                callback()
