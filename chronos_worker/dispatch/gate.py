"""PURE: how many deliveries to one host run at once in one process.

A host begins with a small window. Deliveries beyond it wait for one to end, which on a fast host takes
a millisecond and reuses its connection: ten thousand deliveries due in the same second need dozens of
connections, not ten thousand. Only where turnover is low (in one tick fewer ended than are running) is
the wait costlier than a connection, and the window grows, at most doubling each tick, up to its bound.
A host that hangs is thus fully opened within a few ticks and delays nobody else.

Hosts take turns, so one host's backlog never keeps another's delivery from starting.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from chronos_worker.dispatch.exchange import Exchange
from chronos_worker.dispatch.messages import AttemptKey

FIRST_WINDOW: Final = 64
TICK_S: Final = 0.02
"""How often `tick` is due while `crowded`."""


class _Host:
    __slots__ = ("ended", "name", "queued", "running", "waiting", "window")

    def __init__(self, name: str, window: int) -> None:
        self.name = name
        self.window = window
        self.running = 0
        self.ended = 0
        """Since the last tick."""
        self.waiting: deque[Exchange] = deque()
        self.queued = False
        """Whether it stands in the line of hosts that may start something."""


class HostGate:
    """Holds what waits. `bound` is the most that runs at once towards one host."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._first = min(FIRST_WINDOW, bound)
        self._hosts: dict[str, _Host] = {}
        self._line: deque[_Host] = deque()
        self._crowded: set[_Host] = set()
        """Hosts that were full while something waited for them."""
        self._waiting: dict[AttemptKey, Exchange] = {}

    @property
    def waiting(self) -> int:
        """How many have not been started."""
        return len(self._waiting)

    @property
    def has_ready(self) -> bool:
        """Whether `take` would give something, or has stale entries to clear."""
        return bool(self._line)

    def add(self, exchange: Exchange) -> None:
        """Put one in its host's queue."""
        host = self._hosts.get(exchange.host)
        if host is None:
            host = self._hosts[exchange.host] = _Host(exchange.host, self._first)
        host.waiting.append(exchange)
        self._waiting[exchange.key] = exchange
        self._line_up(host)

    def take(self) -> Exchange | None:
        """The next to start, counted as running from now on; None if all must wait."""
        while self._line:
            host = self._line.popleft()
            host.queued = False
            exchange = self._next_of(host)
            if exchange is None:
                self._forget_if_idle(host)
                continue
            host.running += 1
            self._line_up(host)
            return exchange
        return None

    def ended(self, exchange: Exchange) -> None:
        """One that `take` gave has ended."""
        host = self._hosts[exchange.host]
        host.running -= 1
        host.ended += 1
        self._line_up(host)
        self._forget_if_idle(host)

    def withdraw(self, key: AttemptKey) -> Exchange | None:
        """Take back one that still waits; None if it does not."""
        return self._waiting.pop(key, None)

    def tick(self) -> None:
        """Widen the windows of hosts where waiting costs more than a connection."""
        for host in list(self._crowded):
            if not host.waiting:
                self._crowded.discard(host)
            elif host.ended < host.running:
                host.window = min(self._bound, host.window + host.running - host.ended)
                self._line_up(host)
            host.ended = 0

    def overdue(self, now_s: float) -> list[Exchange]:
        """Take back those that waited longer than their own timeout."""
        late = [each for each in self._waiting.values() if each.waited_too_long(now_s)]
        for exchange in late:
            del self._waiting[exchange.key]
        return late

    def _next_of(self, host: _Host) -> Exchange | None:
        if host.running >= host.window:
            return None
        while host.waiting:
            exchange = host.waiting.popleft()
            if self._waiting.get(exchange.key) is exchange:
                del self._waiting[exchange.key]
                return exchange
        return None

    def _line_up(self, host: _Host) -> None:
        if not host.waiting:
            return
        if host.running >= host.window:
            self._crowded.add(host)
        elif not host.queued:
            host.queued = True
            self._line.append(host)

    def _forget_if_idle(self, host: _Host) -> None:
        if not host.running and not host.waiting and not host.queued:
            self._hosts.pop(host.name, None)
            self._crowded.discard(host)
