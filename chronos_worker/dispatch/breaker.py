"""PURE: circuit breakers, one per target host:port, so that a dead host is not hammered.

    closed    --`failures` in a row-->  open      (a row breaks at any answer below 500)
    open      --cool-down is over-->    half-open (the delivery that finds it so is let through)
    half-open --it failed-->            open      --it answered--> closed
    half-open --it ended otherwise-->   half-open, its slot free again

The half-open slot belongs to one attempt. Whatever that attempt ends in (any status, abort, a dead
process) is settled by its key, so the slot can never stay taken. `now_ms` is a monotonic clock in
milliseconds.
"""

from __future__ import annotations

import enum
from collections import OrderedDict

import msgspec

from chronos_worker.dispatch.messages import AttemptKey
from chronos_worker.dispatch.settings import BreakerSettings
from chronos_worker.dispatch.verdict import Reason

HOST_FAILURES = frozenset(
    {
        Reason.TIMEOUT,
        Reason.DNS_FAILED,
        Reason.CONNECT_FAILED,
        Reason.TLS_FAILED,
        Reason.RESET,
        Reason.CLOSED_EARLY,
        Reason.PROTOCOL_ERROR,
        Reason.TRANSPORT_ERROR,
    }
)
"""Reasons that speak against the host."""


class Outcome(enum.Enum):
    """What an ended attempt says about its host."""

    ANSWERED = enum.auto()
    FAILED = enum.auto()
    NOTHING = enum.auto()
    """Aborted, lost, never sent: no evidence either way."""


def outcome_of(error_code: str | None, http_status: int | None) -> Outcome:
    """What a delivery's result says about its host."""
    if error_code in HOST_FAILURES:
        return Outcome.FAILED
    if http_status is None:
        return Outcome.NOTHING
    return Outcome.FAILED if http_status >= 500 else Outcome.ANSWERED  # noqa: PLR2004 - HTTP's 5xx


class _Breaker(msgspec.Struct):
    """One host. `open_until` None: closed. `probe`: the attempt that holds the half-open slot."""

    streak: int = 0
    last_failure: int = 0
    open_until: int | None = None
    probe: AttemptKey | None = None


class Breakers:
    """The breakers of a node. Only hosts with something against them are remembered."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._hosts: OrderedDict[str, _Breaker] = OrderedDict()

    def refusal_ms(self, host: str, key: AttemptKey, now_ms: int) -> int | None:
        """None: `key` may go (and holds the slot of a half-open breaker); else how long to wait first."""
        breaker = self._hosts.get(host)
        if breaker is None or breaker.open_until is None:
            return None
        if now_ms < breaker.open_until:
            return breaker.open_until - now_ms
        if breaker.probe is not None and breaker.probe != key:
            return self._settings.cool_down_ms
        breaker.probe = key
        return None

    def settle(self, host: str, key: AttemptKey, outcome: Outcome, now_ms: int) -> None:
        """Take in how an attempt that was let through ended."""
        breaker = self._hosts.get(host)
        if breaker is None:
            if outcome is Outcome.FAILED and self._settings.failures:
                self._count(self._remember(host), now_ms)
            return
        was_probe = breaker.probe == key
        if was_probe:
            breaker.probe = None
        if outcome is Outcome.ANSWERED and (was_probe or breaker.open_until is None):
            del self._hosts[host]
        elif outcome is Outcome.FAILED:
            self._hosts.move_to_end(host)
            if was_probe:
                breaker.open_until = now_ms + self._settings.cool_down_ms
            elif breaker.open_until is None:
                self._count(breaker, now_ms)

    def open_count(self) -> int:
        """How many hosts are being left alone or probed."""
        return sum(breaker.open_until is not None for breaker in self._hosts.values())

    def _count(self, breaker: _Breaker, now_ms: int) -> None:
        in_row = now_ms - breaker.last_failure <= self._settings.streak_ms
        breaker.streak = breaker.streak + 1 if in_row else 1
        breaker.last_failure = now_ms
        if breaker.streak >= self._settings.failures:
            breaker.open_until = now_ms + self._settings.cool_down_ms

    def _remember(self, host: str) -> _Breaker:
        while len(self._hosts) >= self._settings.max_hosts:
            self._hosts.popitem(last=False)
        breaker = self._hosts[host] = _Breaker()
        return breaker
