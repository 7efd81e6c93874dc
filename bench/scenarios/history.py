"""A long ledger: does it slow down what is new, and does forgetting its old end delay anything?

The history is written into the stopped node's database (see `bench.filling`); everything measured is real.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.bulk import load_many, sparse
from bench.client import Client
from bench.cluster import Cluster, cluster
from bench.filling import count_before, fill, has_before
from bench.processes import now_ms, wait_for
from bench.scenario import Place, Run, Scenario, Setup
from bench.scenarios.punctuality import punctual
from bench.scenarios.throughput import GRACE, saturate
from bench.sink import sink
from bench.statistics import percentile

PER_JOB = 1_000
"""Finished executions of a job: as many as are kept by default."""
EXPIRED_SHARE = 5
"""A fifth of the history again is older than it may be, and pruned while it is watched."""
STEADY_PER_S = 200
_DAY_MS = 86_400_000
_KEPT_DAYS = 30
_PATIENCE = 15
"""Pruning is watched for at most so many times the duration."""
_PAGES = 200
_PREFIX = "history-"


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """Fill the history once; measure it again and again, each time beside an empty node."""
    assert setup.size is not None
    directory = place.new()
    jobs = max(1, setup.size // PER_JOB)
    with cluster(directory / "cluster", setup.nodes) as running:
        with sink(directory / "sink") as target:
            load_many(running, sparse(_PREFIX, jobs, target.url))
            _run_one(running)
        _fill(running, PER_JOB, now_ms())
        for number in range(setup.runs):
            yield _run(running, directory, setup, number)


def _run_one(running: Cluster) -> None:
    """One real execution, of which the others are copies."""
    with running.client() as client:
        job = client.want(200, "GET", f"/api/v1/jobs?limit=1&name_prefix={_PREFIX}")["items"][0]["id"]
        client.want(202, "POST", f"/api/v1/jobs/{job}/trigger", {})
        wait_for(
            lambda: client.want(200, "GET", f"/api/v1/jobs/{job}/executions?status=succeeded")["items"],
            "one execution to succeed",
        )


def _fill(running: Cluster, per_job: int, newest: int) -> None:
    """The same rows on every node, which stand still meanwhile."""
    running.stop()
    for database in running.databases:
        fill(database, _PREFIX, per_job, newest)
    running.start()


def _run(running: Cluster, directory: Path, setup: Setup, number: int) -> Run:
    assert setup.duration_s is not None
    full = _measured(running, directory, setup, f"full-{number}-")
    with cluster(directory / f"empty-{number}", setup.nodes) as fresh:
        empty = _measured(fresh, directory, setup, f"empty-{number}-")
    with running.client() as client:
        pages = _newest_pages(client)
    pruning = _pruning(running, directory, setup, number)
    metrics = {
        **full.metrics,
        **{f"empty_{name}": value for name, value in empty.metrics.items()},
        "to_empty_pct": full.metrics["executions_per_s"] / empty.metrics["executions_per_s"] * 100,
        "newest_page_p99_ms": percentile(pages, 99),
        **pruning.metrics,
    }
    return Run(metrics, full.verdict.joined(empty.verdict).joined(pruning.verdict))


def _measured(running: Cluster, directory: Path, setup: Setup, prefix: str) -> Run:
    """Throughput, then punctuality."""
    assert setup.duration_s is not None
    busy = saturate(running, directory, msgspec.structs.replace(setup, size=None), f"busy-{prefix}")
    calm = punctual(running, directory, STEADY_PER_S, setup.duration_s, f"calm-{prefix}")
    metrics = {name: busy.metrics[name] for name in ("executions_per_s", "worker_cpu_us")}
    metrics |= {name: calm.metrics[name] for name in ("lateness_p50_ms", "lateness_p99_ms")}
    return Run(metrics, busy.verdict.joined(calm.verdict))


def _newest_pages(client: Client) -> list[float]:
    """Milliseconds of the newest page of the whole ledger and of single jobs."""
    jobs = client.want(200, "GET", f"/api/v1/jobs?limit=100&name_prefix={_PREFIX}")["items"]
    paths = ["/api/v1/executions?limit=50", *(f"/api/v1/jobs/{job['id']}/executions?limit=50" for job in jobs)]
    return [client.ask("GET", paths[number % len(paths)]).took_ms for number in range(_PAGES)]


def _pruning(running: Cluster, directory: Path, setup: Setup, number: int) -> Run:
    """The punctuality of a steady load while the expired part of the history is forgotten."""
    assert setup.duration_s is not None
    bound = now_ms() - _KEPT_DAYS * _DAY_MS - _DAY_MS // 2
    _fill(running, PER_JOB // EXPIRED_SHARE, bound)
    database = running.databases[0]
    expired = count_before(database, bound)
    deadline = time.monotonic() + setup.duration_s * _PATIENCE

    def more() -> bool:
        return time.monotonic() < deadline and has_before(database, bound)

    calm = punctual(running, directory, STEADY_PER_S, setup.duration_s, f"pruning-{number}-", more)
    metrics = {f"pruning_{name}": value for name, value in calm.metrics.items() if name.startswith("lateness_")}
    metrics["pruned_count"] = expired - count_before(database, bound)
    return Run(metrics, calm.verdict)


SCENARIO = Scenario(
    name="history",
    about="--size finished executions retained: throughput, punctuality, the newest page, and pruning",
    full=Setup(duration_s=30, rate_per_s=14_000, size=5_000_000),
    quick=Setup(runs=1, duration_s=4, rate_per_s=1_000, size=20_000),
    measure=measure,
    notes={"misfire_grace": GRACE, "filled_by": "copies of one real execution", "calm_per_s": str(STEADY_PER_S)},
)
