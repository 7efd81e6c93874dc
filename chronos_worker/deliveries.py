"""Between the state machine and the pool: assignments become deliveries, their results become commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from chronos_common import ids
from chronos_common.clock import Clock
from chronos_common.commands import Response, Result
from chronos_common.models import AttemptStatus, RetryPolicy
from chronos_worker.clock_watch import ClockStep
from chronos_worker.dispatch import AttemptKey, Delivery, DeliveryResult, PoolStats
from chronos_worker.lateness import Begun, Lateness
from chronos_worker.policies import retry_delay_ms
from chronos_worker.state_machine.effects import Aborted, Assigned
from chronos_worker.store.database import Database
from chronos_worker.store.job_queries import get_editions
from chronos_worker.store.rows import Sending, decode_extra, decode_sending


class Dispatcher(Protocol):
    """What the node needs of the pool."""

    def submit(self, deliveries: Iterable[Delivery]) -> None:
        """Take deliveries; never waits."""

    def abort(self, keys: Iterable[AttemptKey]) -> None:
        """Cut off attempts; unknown ones are ignored."""

    def collect(self) -> list[DeliveryResult]:
        """What has ended since the last call."""

    def stats(self) -> PoolStats:
        """The pool at a glance."""


class Observer(Protocol):
    """Who is told of every attempt that ended here."""

    def attempt_ended(self, result: DeliveryResult, lateness_ms: int) -> None:
        """An attempt ended that had begun this long after its occurrence was due."""


class _Flight(NamedTuple):
    execution_seq: int
    begun: Begun
    retry_policy: RetryPolicy


class Deliveries:
    """The attempts this life of this node is making."""

    def __init__(
        self, database: Database, pool: Dispatcher, observer: Observer, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self._database = database
        self._pool = pool
        self._observer = observer
        self._chance = chance
        self._lateness = Lateness(clock)
        self._flights: dict[AttemptKey, _Flight] = {}
        self._keys: dict[tuple[int, int], AttemptKey] = {}

    def begin(self, assigned: list[Assigned], term: int) -> None:
        """Hand committed assignments to the pool. `term` goes along as the fencing token."""
        if not assigned:
            return
        deliveries, now = [], self._lateness.now()
        with self._database.look() as connection:
            editions = get_editions(connection, {(item.job_seq, item.job_version) for item in assigned})
        for item in assigned:
            found = editions.get((item.job_seq, item.job_version))
            if found is None:
                raise LookupError(f"version {item.job_version} of job {item.job_seq} is assigned but not stored")
            job_id, raw_spec = found
            sending = decode_sending(raw_spec)
            key = (item.execution_id, item.number)
            self._flights[key] = _Flight(
                item.execution_seq, self._lateness.begun(item.fire_time, item.at, now), sending.retry_policy
            )
            self._keys[item.execution_seq, item.number] = key
            deliveries.append(_delivery(item, ids.to_text(job_id), sending, term))
        self._pool.submit(deliveries)

    def unbegun(self, held: list[Assigned], reported: Callable[[int, int], bool]) -> list[Assigned]:
        """What the rows assign to this life and it never began: a snapshot jumped over the news."""
        return [
            item
            for item in held
            if (item.execution_seq, item.number) not in self._keys and not reported(item.execution_seq, item.number)
        ]

    def abort(self, aborted: list[Aborted]) -> None:
        """Cut off attempts that no longer count."""
        keys = [self._keys[pair] for pair in aborted if pair in self._keys]
        if keys:
            self._pool.abort(keys)

    def abandon(self) -> None:
        """This life is over: cut off everything."""
        self._pool.abort(list(self._flights))
        self._flights.clear()
        self._keys.clear()

    def finished(self) -> list[Result]:
        """What has ended since the last call, as it is to be recorded."""
        ended = []
        results, now = self._pool.collect(), self._lateness.now()
        for result in results:
            flight = self._flights.pop(result.key, None)
            if flight is None:
                continue  # of a life that is over
            del self._keys[flight.execution_seq, result.attempt]
            self._observer.attempt_ended(result, self._lateness.of(flight.begun, result, now))
            ended.append(self._recorded(flight, result))
        return ended

    def clock_stepped(self, step: ClockStep) -> None:
        """This node's wall clock was moved."""
        self._lateness.clock_stepped(step)

    def pool_stats(self) -> PoolStats:
        """The pool at a glance."""
        return self._pool.stats()

    @property
    def in_flight(self) -> int:
        """Attempts going on."""
        return len(self._flights)

    def _recorded(self, flight: _Flight, result: DeliveryResult) -> Result:
        retry_at = None
        if result.retryable and result.status is not AttemptStatus.LOST:
            delay = retry_delay_ms(flight.retry_policy, result.attempt, self._chance(), result.retry_after_ms)
            retry_at = result.finished_at + delay
        return Result(
            flight.execution_seq,
            result.attempt,
            result.status,
            result.started_at,
            result.finished_at,
            retry_at,
            Response(
                result.http_status,
                result.error_code,
                result.error,
                result.response_headers,
                result.response_body,
                result.response_truncated,
                result.timings_ms,
            ),
        )


def _delivery(item: Assigned, job_id: str, sending: Sending, term: int) -> Delivery:
    extra = decode_extra(item.extra)
    return Delivery(
        execution_id=item.execution_id,
        attempt=item.number,
        job_id=job_id,
        fire_time=item.fire_time,
        term=term,
        timeout_ms=sending.timeout_ms,
        target=sending.target,
        payload=extra.payload,
        has_payload=extra.has_payload,
    )
