"""The world outside: webhooks that answer, dawdle, hang, fail or lie, and the pools that call them.

The first label of a URL's host says how a target behaves. Every request that reaches a target is noted, whether
or not its caller lives to hear the answer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

from chronos_common.models import AttemptStatus
from chronos_worker.dispatch import AttemptKey, Delivery, DeliveryResult, PoolStats
from tests.sim.network import VirtualClock


@dataclass
class Request:
    """One webhook as its target saw it."""

    execution_id: bytes
    attempt: int
    job_id: str
    fire_time: int
    node_id: str
    began_at: float
    ended_at: float | None = None
    answered: bool = False
    """Whether the target did its work and said so."""


@dataclass(order=True)
class _Flight:
    at: float
    number: int
    kind: str = field(compare=False)
    delivery: Delivery = field(compare=False)
    request: Request | None = field(compare=False, default=None)


class Targets:
    """All targets, and what they saw."""

    def __init__(self, random: Random, clock: VirtualClock) -> None:
        self.random = random
        self.clock = clock
        self.requests: list[Request] = []

    def outcome(self, delivery: Delivery) -> tuple[str, float]:
        """How a request fares, and after how many seconds."""
        kind = (urlsplit(delivery.target.url).hostname or "").split(".", maxsplit=1)[0]
        if kind == "flaky":
            kind = self.random.choice(["quick", "broken"])
        if kind == "lying":
            kind = self.random.choice(["quick", "reset"])
        took = {"quick": (0.001, 0.05), "slow": (0.5, 2.5), "hanging": (60.0, 90.0)}.get(kind, (0.001, 0.02))
        return kind, self.random.uniform(*took)


class SimPool:
    """`Dispatcher` of one process life: what the real pool does, in virtual time."""

    def __init__(
        self,
        node_id: str,
        targets: Targets,
        now_ms: Callable[[], int],
        check: Callable[[Delivery], None],
        note: Callable[[str], None],
    ) -> None:
        self._node_id = node_id
        self._targets = targets
        self._now_ms = now_ms
        self._check = check
        self._note = note
        self._events: list[_Flight] = []
        self._known: dict[AttemptKey, tuple[int, Request | None]] = {}
        self._done: list[DeliveryResult] = []
        self._numbers = 0

    def submit(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            self._check(delivery)
            assert delivery.key not in self._known, f"{self._node_id} is told twice to send {delivery.key}"
            self._known[delivery.key] = (self._now_ms(), None)
            self._post(self._targets.random.uniform(0.0, 0.01), "begin", delivery)

    def abort(self, keys: Iterable[AttemptKey]) -> None:
        for key in keys:
            if key in self._known:
                self._finish(key, AttemptStatus.CANCELLED, retryable=False, code="cancelled")

    def go_on(self) -> None:
        """What the pool's processes do by themselves, also while the node's process is stopped."""
        while self._events and self._events[0].at <= self._targets.clock.now:
            event = heapq.heappop(self._events)
            if event.delivery.key in self._known:
                getattr(self, f"_{event.kind}")(event.delivery, event.request)

    def collect(self) -> list[DeliveryResult]:
        done, self._done = self._done, []
        return done

    def stats(self) -> PoolStats:
        return PoolStats(1, len(self._known), 0, 0, 0)

    def die(self) -> None:
        """The process is gone: what was under way is cut off, and nobody hears."""
        for _, request in self._known.values():
            if request is not None:
                request.ended_at = self._targets.clock.now

    # -- events -------------------------------------------------------------------------------------------

    def _post(self, after: float, kind: str, delivery: Delivery, request: Request | None = None) -> None:
        self._numbers += 1
        heapq.heappush(self._events, _Flight(self._targets.clock.now + after, self._numbers, kind, delivery, request))

    def _begin(self, delivery: Delivery, _request: None) -> None:
        now = self._targets.clock.now
        kind, took = self._targets.outcome(delivery)
        if kind == "refusing":
            self._finish(delivery.key, AttemptStatus.FAILED, retryable=True, code="connection_refused")
            return
        request = Request(
            delivery.execution_id, delivery.attempt, delivery.job_id, delivery.fire_time, self._node_id, now
        )
        self._targets.requests.append(request)
        self._note(f"{self._node_id} sends {delivery.execution_id.hex()}/{delivery.attempt}")
        self._known[delivery.key] = (self._known[delivery.key][0], request)
        timeout = delivery.timeout_ms / 1000
        if took > timeout:
            self._post(timeout, "time_out", delivery, request)
        else:
            self._post(took, kind, delivery, request)

    def _quick(self, delivery: Delivery, request: Request) -> None:
        request.answered = True
        self._finish(delivery.key, AttemptStatus.SUCCEEDED, retryable=False)

    _slow = _hanging = _quick

    def _broken(self, delivery: Delivery, _request: Request) -> None:
        self._finish(delivery.key, AttemptStatus.FAILED, retryable=True, code="http_status")

    def _reset(self, delivery: Delivery, request: Request) -> None:
        """The target did the work and closed the connection without a word."""
        request.answered = True
        self._finish(delivery.key, AttemptStatus.FAILED, retryable=True, code="connection_reset")

    def _time_out(self, delivery: Delivery, _request: Request) -> None:
        self._finish(delivery.key, AttemptStatus.TIMED_OUT, retryable=True, code="timeout")

    def _finish(self, key: AttemptKey, status: AttemptStatus, *, retryable: bool, code: str | None = None) -> None:
        started_at, request = self._known.pop(key)
        if request is not None:
            request.ended_at = self._targets.clock.now
        self._done.append(DeliveryResult(*key, status, retryable, started_at, self._now_ms(), error_code=code))
