"""Many requests that take half a minute each, and whether the others notice.

The slow targets are our own receivers; each serves at most 2,000 requests at once, since Chronos as shipped
opens 2,048 connections to one host and port.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

from bench.cluster import Cluster, cluster
from bench.ledger import Due, Span, read_jobs
from bench.load import load
from bench.machine import memory
from bench.processes import BenchFailed, now_ms, sleep_until
from bench.scenario import Place, Run, Scenario, Setup, judge
from bench.sink import Sink, lateness_ms, sink
from bench.statistics import percentile
from bench.steady import Steady, owed

ANSWER_S = 30
PER_HOST = 2_000
STEADY_PER_S = 200
_SETTLED_S = 10
"""After this long all slow requests are under way; what is measured beside them begins."""


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """One run on a fresh cluster, again and again."""
    assert setup.size is not None
    assert setup.duration_s is not None
    for _ in range(setup.runs):
        directory = place.new()
        with ExitStack() as opened:
            running = opened.enter_context(cluster(directory / "cluster", setup.nodes))
            fast = opened.enter_context(sink(directory / "fast"))
            hosts = -(-setup.size // PER_HOST)
            slow = [opened.enter_context(sink(directory / f"slow-{number}", "own")) for number in range(hosts)]
            yield _run(running, fast, slow, setup.size, setup.duration_s)


def _run(running: Cluster, fast: Sink, slow: list[Sink], size: int, duration_s: int) -> Run:
    steady = Steady(running, STEADY_PER_S, fast.url)
    at = _load_slow(running, slow, size, duration_s)
    alone_from = max(now_ms(), steady.from_ms)
    if alone_from + duration_s * 1_000 > at:
        raise BenchFailed("loading took too long for what is measured before the slow requests")
    sleep_until(at - 100)
    before_mb = _held_mb(running)
    sleep_until(at + _SETTLED_S * 1_000)
    in_flight = running.leader().in_flight
    grown_mb = _held_mb(running) - before_mb
    sleep_until(at + ANSWER_S * 1_000 - 1_000)
    until = steady.stop(ANSWER_S + 60)
    for each in (fast, *slow):
        each.stop()
    span = Span(steady.from_ms, until)
    alone = lateness_ms(fast.arrivals(Span(alone_from, at)))
    beside = lateness_ms(fast.arrivals(Span(at + _SETTLED_S * 1_000, until)))
    arrivals = [arrival for each in (fast, *slow) for arrival in each.arrivals(span)]
    database = running.databases[0]
    due = [Due(job.seq, at, at + 1, 1) for job in read_jobs(database, "slow-")]
    return Run(
        {
            "lateness_p50_ms": percentile(beside, 50),
            "lateness_p99_ms": percentile(beside, 99),
            "alone_p50_ms": percentile(alone, 50),
            "alone_p99_ms": percentile(alone, 99),
            "in_flight_count": in_flight,
            "request_kb": grown_mb * 1_024 / size,
        },
        judge(running, due + owed(database, steady.prefix, span), span, arrivals),
    )


def _load_slow(running: Cluster, slow: list[Sink], size: int, duration_s: int) -> int:
    """Load the jobs with slow targets; returns the instant at which all of them fire."""
    allowance_s = 3 + size // 500
    at = (now_ms() // 1_000 + duration_s + allowance_s) * 1_000
    schedule = f"@at {datetime.fromtimestamp(at / 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    jobs = (
        {
            "name": f"slow-{number:07}",
            "schedule": schedule,
            "webhook": {"url": f"{slow[number % len(slow)].url}wait/{ANSWER_S}"},
        }
        for number in range(size)
    )
    with running.client() as client:
        load(client, jobs)
    return at


def _held_mb(running: Cluster) -> float:
    """Resident memory of all workers and their sending processes."""
    return sum(memory(pid).rss_mb for worker in running.workers.values() for pid in worker.family())


SCENARIO = Scenario(
    name="slow_targets",
    about=f"--size requests of {ANSWER_S} s each in flight: memory, and the lateness of {STEADY_PER_S}/s beside",
    full=Setup(duration_s=20, size=2_000),
    quick=Setup(runs=1, duration_s=3, size=500),
    measure=measure,
    notes={"answer_s": str(ANSWER_S), "beside_per_s": str(STEADY_PER_S)},
)
