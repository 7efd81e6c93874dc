"""A steady load far below capacity: how long after its fire time does the first byte reach the sink?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.cluster import Cluster, cluster
from bench.ledger import Span
from bench.processes import now_ms, sleep_until
from bench.scenario import Place, Run, Scenario, Setup, judge
from bench.sink import Sink, lateness_ms, sink
from bench.statistics import percentile
from bench.steady import Steady, owed


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """One run on a fresh cluster, again and again."""
    assert setup.rate_per_s is not None
    assert setup.duration_s is not None
    for _ in range(setup.runs):
        directory = place.new()
        with cluster(directory / "cluster", setup.nodes) as running:
            yield punctual(running, directory, setup.rate_per_s, setup.duration_s, "steady-")


def punctual(
    running: Cluster,
    directory: Path,
    rate_per_s: int,
    duration_s: int,
    prefix: str,
    more: Callable[[], bool] = lambda: False,
) -> Run:
    """How punctual a steady load is on a running cluster for `duration_s` seconds, and on while there is `more`."""
    with sink(directory / f"sink-{prefix}") as target:
        load = Steady(running, rate_per_s, target.url, prefix)
        term = running.leader().term
        sleep_until(load.from_ms + duration_s * 1_000)
        while more():
            time.sleep(1)
        changes = running.leader().term - term
        run = finish(running, load, target, Span(load.from_ms, now_ms()))
    run.metrics["leader_changes_count"] = changes
    return run


def finish(running: Cluster, load: Steady, target: Sink, span: Span) -> Run:
    """End a steady load and its sink; how punctual it was within the span, and its ledger."""
    load.stop()
    target.stop()
    arrivals = target.arrivals(span)
    late = lateness_ms(arrivals)
    verdict = judge(running, owed(running.databases[0], load.prefix, span), span, arrivals)
    return Run(
        {
            "lateness_p50_ms": percentile(late, 50),
            "lateness_p99_ms": percentile(late, 99),
            "lateness_max_ms": max(late),
        },
        verdict,
    )


SCENARIO = Scenario(
    name="punctuality",
    about="--rate jobs of @every 1s with spread phases: first byte at the sink minus fire time",
    full=Setup(nodes=3, duration_s=60, rate_per_s=200),
    quick=Setup(nodes=3, runs=1, duration_s=5, rate_per_s=200),
    measure=measure,
)
