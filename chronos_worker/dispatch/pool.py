"""The node's side of dispatch: which process sends what, and what became of it.

Everything here runs on the node's thread and never waits. A delivery is *known* from `submit` until
its result was given by `collect`, exactly one result each, whatever happens to breakers, processes or
aborts in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit
from zlib import crc32

import msgspec

from chronos_worker.dispatch.breaker import Breakers, outcome_of
from chronos_worker.dispatch.channel import DELIVERIES_PER_FRAME
from chronos_worker.dispatch.child import Child
from chronos_worker.dispatch.messages import AttemptKey, Delivery, DeliveryResult, Orders
from chronos_worker.dispatch.request import InvalidTarget, parse_origin
from chronos_worker.dispatch.settings import DispatchSettings, problems
from chronos_worker.dispatch.verdict import Reason, judge_failure

SPILL: Final = 64
"""How much busier than the idlest process a host's own one may be before its deliveries go elsewhere."""
_FIRST_RESTART_S: Final = 0.1
_SLOWEST_RESTART_S: Final = 5.0
_STEADY_AFTER_S: Final = 10.0
"""A process that lived this long is replaced at once."""
_OVERDUE_CHECK_S: Final = 5.0
_OVERDUE_GRACE_S: Final = 30.0
"""A process answers within twice an attempt's timeout (the wait for a connection, then the attempt).
One that has not, this much later, is stuck and is killed."""

_encode: Final = msgspec.msgpack.Encoder().encode


class PoolFull(Exception):
    """More deliveries than seats; nothing of the call was taken."""


class Log(Protocol):
    """The one thing the pool has to say: that a process died."""

    def warning(self, event: str, **facts: Any) -> Any:
        """Report an event with its facts."""


class PoolStats(NamedTuple):
    """The pool at a glance."""

    processes: int
    """Alive now."""
    in_flight: int
    """Deliveries known: running, waiting, or ended and not collected."""
    queue_depth: int
    """Of these, held back in this process because no child is there to take them."""
    open_breakers: int
    restarts: int


class _Flight(NamedTuple):
    host: str
    slot: _Slot
    overdue_at_s: float


class _Slot:
    """A place for one child. `flights` are the attempts it was given or will be given."""

    __slots__ = ("child", "flights", "restart_at_s", "restart_delay_s", "started_at_s", "unsent")

    def __init__(self) -> None:
        self.child: Child | None = None
        self.flights: set[AttemptKey] = set()
        self.unsent: dict[AttemptKey, Delivery] = {}
        self.started_at_s = self.restart_at_s = 0.0
        self.restart_delay_s = 0.0


class DispatchPool:
    """A pool of sending processes.

    `wake` is called from other threads when `collect` has something. `now_ms` is the wall clock that
    dates results made here, `now_s` a monotonic one. Not thread-safe: one thread calls the methods.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        settings: DispatchSettings,
        *,
        wake: Callable[[], None],
        log: Log,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if found := problems(settings):
            raise ValueError("; ".join(found))
        self._settings = settings
        self._wake = wake
        self._log = log
        self._now_ms = now_ms
        self._now_s = now_s
        self._breakers = Breakers(settings.breaker)
        self._slots = [_Slot() for _ in range(settings.processes)]
        self._flights: dict[AttemptKey, _Flight] = {}
        self._ready: list[DeliveryResult] = []
        """Results made here, not by a child."""
        self._restarts = 0
        self._drain_until_s: float | None = None
        self._overdue_check_s = 0.0
        self._running = False

    @property
    def in_flight(self) -> int:
        """Deliveries taken whose result was not given yet."""
        return len(self._flights) + len(self._ready)

    @property
    def free_seats(self) -> int:
        """How many more `submit` takes; none while draining."""
        if self._drain_until_s is not None:
            return 0
        return max(0, self._settings.seats - self.in_flight)

    @property
    def pids(self) -> list[int]:
        """The processes alive now."""
        return [slot.child.pid for slot in self._slots if slot.child is not None]

    def start(self) -> None:
        """Start the processes. They come up in the background; `submit` may follow at once."""
        self._running = True
        for slot in self._slots:
            self._start(slot)

    def submit(self, deliveries: Iterable[Delivery]) -> None:
        """Take deliveries to send. One already known is ignored.

        Raises:
            PoolFull: more new ones than `free_seats`; none was taken.
        """
        fresh = {each.key: each for each in deliveries if each.key not in self._flights}
        if len(fresh) > self.free_seats:
            raise PoolFull(f"{len(fresh)} deliveries for {self.free_seats} free seats")
        now_s = self._now_s()
        now_ms = int(now_s * 1_000)
        orders: dict[_Slot, list[Delivery]] = {}
        for key, delivery in fresh.items():
            host = _host_of(delivery.target.url)
            wait_ms = self._breakers.refusal_ms(host, key, now_ms)
            if wait_ms is not None:
                self._refuse(delivery, host, wait_ms)
                continue
            slot = self._slot_for(host)
            slot.flights.add(key)
            overdue_at_s = now_s + 2 * delivery.timeout_ms / 1_000 + _OVERDUE_GRACE_S
            self._flights[key] = _Flight(host, slot, overdue_at_s)
            orders.setdefault(slot, []).append(delivery)
        for slot, batch in orders.items():
            _give(slot, batch)
        if self._ready:
            self._wake()

    def abort(self, keys: Iterable[AttemptKey]) -> None:
        """Cancel attempts: running requests lose their connection. Unknown ones are ignored.

        Each still ends in a result, `cancelled` unless its answer was already on the way.
        """
        unsent = self._order_abort(key for key in keys if key in self._flights)
        self._conclude(unsent, Reason.ABORTED, "the attempt was cancelled before it was sent")
        if self._ready:
            self._wake()

    def collect(self) -> list[DeliveryResult]:
        """What has ended since the last call. Also replaces dead processes and ends a drain in time."""
        now_s = self._now_s()
        for slot in self._slots:
            self._look_after(slot, now_s)
        if now_s >= self._overdue_check_s:
            self._overdue_check_s = now_s + _OVERDUE_CHECK_S
            self._kill_stuck(now_s)
        if self._drain_until_s is not None and now_s >= self._drain_until_s:
            self._give_up()
        results, self._ready = self._ready, []
        return results

    def stats(self) -> PoolStats:
        """Numbers for metrics and status."""
        return PoolStats(
            processes=len(self.pids),
            in_flight=self.in_flight,
            queue_depth=sum(len(slot.unsent) for slot in self._slots),
            open_breakers=self._breakers.open_count(),
            restarts=self._restarts,
        )

    def drain(self, grace_s: float) -> None:
        """Take nothing more; let what runs end for `grace_s`, then report the rest as lost.

        Does not wait: go on calling `collect` until `in_flight` is 0.
        """
        self._drain_until_s = self._now_s() + grace_s

    def close(self) -> None:
        """Kill the processes. What is still known gets no result."""
        self._running = False
        for slot in self._slots:
            if slot.child is not None:
                slot.child.end()
                slot.child = None
        self._flights.clear()
        self._ready.clear()

    def _start(self, slot: _Slot) -> None:
        slot.child = Child(self._settings, self._wake)
        slot.started_at_s = self._now_s()
        unsent, slot.unsent = list(slot.unsent.values()), {}
        _give(slot, unsent)

    def _slot_for(self, host: str) -> _Slot:
        """The host's own process, so that its connections are reused; the idlest one if that is swamped."""
        if len(self._slots) == 1:
            return self._slots[0]
        home = self._slots[crc32(host.encode()) % len(self._slots)]
        idlest = min(self._slots, key=lambda slot: len(slot.flights))
        return home if len(home.flights) <= len(idlest.flights) + SPILL else idlest

    def _look_after(self, slot: _Slot, now_s: float) -> None:
        if slot.child is None:
            if self._running and slot.restart_at_s <= now_s:
                self._start(slot)
            return
        gone = slot.child.gone  # looked at first: what a dead process wrote is all in the inbox
        for result in slot.child.collect():
            self._settle(result)
        if gone:
            self._replace(slot, now_s)

    def _replace(self, slot: _Slot, now_s: float) -> None:
        """Report what a dead process took along, and start another; later and later if they die young."""
        assert slot.child is not None  # noqa: S101 - only called for a slot whose child is gone
        pid, code = slot.child.pid, slot.child.end()
        slot.child = None
        lost = list(slot.flights)
        self._log.warning("dispatch_process_died", pid=pid, exit_code=code, attempts_lost=len(lost))
        self._conclude(lost, Reason.WORKER_DIED, f"the sending process {pid} died (exit code {code})")
        self._restarts += 1
        if now_s - slot.started_at_s >= _STEADY_AFTER_S:
            slot.restart_delay_s = 0.0
        slot.restart_at_s = now_s + slot.restart_delay_s
        slot.restart_delay_s = min(_SLOWEST_RESTART_S, max(_FIRST_RESTART_S, slot.restart_delay_s * 2))
        if slot.restart_at_s <= now_s:
            self._start(slot)

    def _kill_stuck(self, now_s: float) -> None:
        stuck = {flight.slot for flight in self._flights.values() if flight.overdue_at_s < now_s}
        for slot in stuck:
            if slot.child is not None:
                slot.child.kill()

    def _settle(self, result: DeliveryResult) -> None:
        flight = self._flights.pop(result.key, None)
        if flight is None:
            return  # given up on at the end of a drain
        flight.slot.flights.discard(result.key)
        outcome = outcome_of(result.error_code, result.http_status)
        self._breakers.settle(flight.host, result.key, outcome, int(self._now_s() * 1_000))
        self._ready.append(result)

    def _conclude(self, keys: Iterable[AttemptKey], reason: Reason, error: str) -> None:
        """End attempts from here, without their process."""
        for key in keys:
            self._flights[key].slot.unsent.pop(key, None)
            self._settle(self._result(key, reason, error))

    def _refuse(self, delivery: Delivery, host: str, wait_ms: int) -> None:
        error = f"the circuit breaker of {host} is open after repeated failures; next try in {wait_ms} ms"
        self._ready.append(self._result(delivery.key, Reason.CIRCUIT_OPEN, error, wait_ms))

    def _give_up(self) -> None:
        keys = list(self._flights)
        self._order_abort(keys)
        self._conclude(keys, Reason.DRAINED, "the node stopped before the answer came")

    def _order_abort(self, keys: Iterable[AttemptKey]) -> list[AttemptKey]:
        """Tell the processes to abort known attempts; gives those that no process has got yet."""
        orders: dict[_Slot, list[AttemptKey]] = {}
        for key in keys:
            orders.setdefault(self._flights[key].slot, []).append(key)
        unsent = []
        for slot, batch in orders.items():
            if slot.child is None:
                unsent.extend(batch)
            else:
                slot.child.send(_encode(Orders(abort=batch)))
        return unsent

    def _result(self, key: AttemptKey, reason: Reason, error: str, wait_ms: int | None = None) -> DeliveryResult:
        judged, now = judge_failure(reason, wait_ms), self._now_ms()
        return DeliveryResult(
            execution_id=key[0],
            attempt=key[1],
            status=judged.status,
            retryable=judged.retryable,
            started_at=now,
            finished_at=now,
            retry_after_ms=judged.retry_after_ms,
            error_code=judged.reason,
            error=error,
        )


@lru_cache(maxsize=4_096)
def _host_of(url: str) -> str:
    """The host:port a URL names, as the key of its breaker and its process."""
    try:
        _, host, port = parse_origin(urlsplit(url))
    except (InvalidTarget, ValueError):
        return ""  # the child says what is wrong with it
    return f"{host}:{port}"


def _give(slot: _Slot, batch: list[Delivery]) -> None:
    if slot.child is None:
        slot.unsent.update((each.key, each) for each in batch)
        return
    for start in range(0, len(batch), DELIVERIES_PER_FRAME):
        slot.child.send(_encode(Orders(start=batch[start : start + DELIVERIES_PER_FRAME])))
