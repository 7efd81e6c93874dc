"""Sustained load: jobs that fire every second, more of them than the machine is expected to manage.

What is left when the window closes is worked off, and the rate counts to its very end: an offer beyond the
capacity measures the capacity, a smaller one itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.cluster import Cluster, Usage, cluster
from bench.ledger import read_jobs
from bench.load import every_second, load_for, next_window
from bench.scenario import Place, Run, Scenario, Setup, judge
from bench.sink import lateness_ms, sink
from bench.statistics import percentile

GRACE = "30m"
"""So that an occurrence that waits is a late run and not a misfire."""


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """One run on a fresh cluster, again and again."""
    for _ in range(setup.runs):
        directory = place.new()
        with cluster(directory / "cluster", setup.nodes) as running:
            yield saturate(running, directory, setup, "load-")


def saturate(running: Cluster, directory: Path, setup: Setup, prefix: str) -> Run:
    """Offer `rate_per_s` executions a second for `duration_s` seconds to a running cluster."""
    assert setup.rate_per_s is not None
    assert setup.duration_s is not None
    with sink(directory / f"sink-{prefix}") as target:
        with running.client() as client:
            at = next_window(setup.rate_per_s, setup.duration_s)
            load_for(client, setup.rate_per_s, at, prefix, target.url, misfire={"grace": GRACE})
        term = running.leader().term
        usage = Usage(running, sink=lambda: target.pids)
        done_at = running.settle(at.span.until, timeout_s=setup.duration_s * 10 + 60)
        changes = running.leader().term - term
        executions = setup.rate_per_s * at.seconds
        metrics = usage.each_us(executions)
        target.stop()
        arrivals = target.arrivals(at.span)
    verdict = judge(running, every_second(read_jobs(running.databases[0], prefix), at.span), at.span, arrivals)
    late = lateness_ms(arrivals)
    elapsed_s = (max(done_at, at.span.until) - at.span.first) / 1_000
    runs = verdict.totals.recorded - verdict.skipped
    return Run(
        {
            "executions_per_s": runs / elapsed_s,
            "lateness_p50_ms": percentile(late, 50),
            "lateness_p99_ms": percentile(late, 99),
            "skipped_count": verdict.skipped,
            "leader_changes_count": changes,
            **metrics,
        },
        verdict,
    )


SCENARIO = Scenario(
    name="throughput",
    about="jobs firing every second, sustained; --rate is how many are offered a second",
    full=Setup(duration_s=60, rate_per_s=14_000),
    quick=Setup(runs=1, duration_s=6, rate_per_s=4_000),
    measure=measure,
    notes={"misfire_grace": GRACE},
    also=lambda setup: [msgspec.structs.replace(setup, nodes=3, rate_per_s=(setup.rate_per_s or 0) // 2)],
)
