"""Everything at once: many jobs due in the same second, and somebody reading the API meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from bench.cluster import cluster
from bench.ledger import Due, Span, read_jobs
from bench.load import documents, load
from bench.prober import Prober, pages
from bench.processes import BenchFailed, now_ms, sleep_until
from bench.scenario import Place, Run, Scenario, Setup, judge
from bench.sink import sink
from bench.statistics import percentile

READS_PER_S = 50
_PATHS = ("/api/v1/jobs?limit=20", "/api/v1/executions?limit=20", "/api/v1/cluster/status")


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """One run on a fresh cluster, again and again."""
    assert setup.size is not None
    for _ in range(setup.runs):
        directory = place.new()
        with cluster(directory / "cluster", setup.nodes) as running, sink(directory / "sink") as target:
            at = (now_ms() // 1_000 + 5 + setup.size // 2_000) * 1_000
            schedule = f"@at {datetime.fromtimestamp(at / 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
            with running.client() as client:
                load(client, documents("burst-", setup.size, schedule, target.url))
            if now_ms() >= at:
                raise BenchFailed(f"loading {setup.size} jobs took {now_ms() - at} ms too long")
            sleep_until(at - 50)
            with Prober(running.client, pages(_PATHS), rate_per_s=READS_PER_S) as prober:
                done_at = running.settle(at + 1, timeout_s=60 + setup.size // 500)
            target.stop()
            span = Span(at, at + 1)
            arrivals = target.arrivals(span)
            due = [Due(job.seq, at, at + 1, 1) for job in read_jobs(running.databases[0], "burst-")]
            yield Run(
                {
                    "last_dispatch_s": (max(arrival.at_ms for arrival in arrivals) - at) / 1_000,
                    "all_recorded_s": (done_at - at) / 1_000,
                    "api_p50_ms": percentile(prober.took_ms, 50),
                    "api_p99_ms": percentile(prober.took_ms, 99),
                },
                judge(running, due, span, arrivals),
            )


SCENARIO = Scenario(
    name="burst",
    about="--size jobs due in the same second, while the API is read 50 times a second",
    full=Setup(size=10_000),
    quick=Setup(runs=1, size=10_000),
    measure=measure,
)
