"""The leader is killed with -9 under a steady load, again and again.

A gap is the longest silence at the sink after a kill and before the next, counted from the last request before it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bench.cluster import cluster
from bench.ledger import Span
from bench.processes import now_ms, sleep_until
from bench.scenario import Place, Run, Scenario, Setup
from bench.scenarios.punctuality import finish
from bench.sink import Arrival, sink
from bench.statistics import percentile
from bench.steady import Steady

CONCURRENCY = "allow"
"""So that an occurrence is launched although the one before it was lost with its node and is not over."""
_REST_S = 3.0
"""Between a recovery and the next kill."""


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """`size` kills on a fresh cluster make a run."""
    assert setup.size is not None
    assert setup.rate_per_s is not None
    for _ in range(setup.runs):
        directory = place.new()
        with cluster(directory / "cluster", setup.nodes) as running, sink(directory / "sink") as target:
            load = Steady(running, setup.rate_per_s, target.url, concurrency=CONCURRENCY)
            sleep_until(load.from_ms + _REST_S * 1_000)
            kills, terms = [], []
            for _kill in range(setup.size):
                leader = running.leader()
                terms.append(leader.term)
                kills.append(now_ms())
                running.kill(leader.node_id)
                running.leader()
                running.start(leader.node_id)
                time.sleep(_REST_S)
            changes = running.leader().term - terms[0] - len(kills)
            run = finish(running, load, target, Span(load.from_ms, now_ms()))
            arrivals = target.arrivals()
            gaps = silences_s([arrival.at_ms for arrival in arrivals], kills)
            run.metrics = {
                "gap_p50_s": percentile(gaps, 50),
                "gap_max_s": max(gaps),
                "first_launch_max_s": first_launch_max_s(arrivals),
                "repeated_count": run.verdict.repeated,
                "extra_terms_count": changes,
                **run.metrics,
            }
            yield run


def silences_s(arrivals_ms: Sequence[float], kills_ms: Sequence[int]) -> list[float]:
    """For each kill the longest pause between two arrivals that ends after it, as far as it lies before the next."""
    pauses = list(pairwise(sorted(arrivals_ms)))
    nexts = [*kills_ms[1:], math.inf]
    return [
        max(min(end, until) - begin for begin, end in pauses if end > kill and begin < until) / 1_000
        for kill, until in zip(kills_ms, nexts, strict=True)
    ]


def first_launch_max_s(arrivals: Sequence[Arrival]) -> float:
    """How late the latest execution was first heard of, whichever attempt that was.

    An attempt that was given to a node that is dead is no launch; its execution waits for the next one.
    """
    first: dict[bytes, float] = {}
    for arrival in arrivals:
        late_s = (arrival.at_ms - arrival.fire_time) / 1_000
        first[arrival.execution_id] = min(late_s, first.get(arrival.execution_id, late_s))
    return max(first.values())


SCENARIO = Scenario(
    name="failover",
    about="the leader killed with -9 under --rate a second, --size times: the silence at the sink",
    full=Setup(nodes=3, runs=1, rate_per_s=200, size=20),
    quick=Setup(nodes=3, runs=1, rate_per_s=100, size=1),
    measure=measure,
    notes={"concurrency": CONCURRENCY},
)
