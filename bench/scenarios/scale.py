"""A node with very many jobs of which none is due: its restart, its idle cost, its lists, and its throughput.

The throughput is that of further jobs which fire every second, on this node and in the same sitting on one
that has only those.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from bench.bulk import load_many, sparse
from bench.client import Client
from bench.cluster import Cluster, cluster
from bench.machine import cpu_s, memory
from bench.scenario import Place, Run, Scenario, Setup
from bench.scenarios.throughput import GRACE, saturate
from bench.statistics import percentile

_URL = "http://127.0.0.1:9/"
_IDLE_S = 20
"""Longest look at the idle node."""
_SETTLING_S = 3
"""From readiness to the idle measurement."""
_PAGES = 200
_WALK = 100
"""Of the pages so many follow the cursor from the first; the others begin somewhere."""


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """Load the jobs once; then restart the node for each run."""
    assert setup.size is not None
    directory = place.new()
    with cluster(directory / "cluster", setup.nodes) as running:
        load_many(running, sparse("sparse-", setup.size, _URL))
        for number in range(setup.runs):
            yield _run(running, directory, setup, number)


def _run(running: Cluster, directory: Path, setup: Setup, number: int) -> Run:
    assert setup.size is not None
    assert setup.duration_s is not None
    running.stop()
    ready_s = running.start()
    time.sleep(_SETTLING_S)
    metrics = {"ready_s": ready_s, "idle_cpu_pct": _idle_pct(running, min(_IDLE_S, 2 * setup.duration_s))}
    with running.client() as client:
        metrics["list_p99_ms"] = percentile(_list_pages(client, setup.size), 99)
    metrics["rss_mb"] = max(memory(process.pid).rss_mb for process in running.workers.values())
    metrics["anonymous_mb"] = max(memory(process.pid).anonymous_mb for process in running.workers.values())
    busy = saturate(running, directory, setup, f"busy-{number}-")
    with cluster(directory / f"alone-{number}", setup.nodes) as fresh:
        alone = saturate(fresh, directory, msgspec.structs.replace(setup, size=None), f"alone-{number}-")
    rate, alone_rate = (run.metrics["executions_per_s"] for run in (busy, alone))
    metrics |= {
        "executions_per_s": rate,
        "alone_executions_per_s": alone_rate,
        "to_alone_pct": rate / alone_rate * 100,
        "worker_cpu_us": busy.metrics["worker_cpu_us"],
        "alone_worker_cpu_us": alone.metrics["worker_cpu_us"],
    }
    return Run(metrics, busy.verdict.joined(alone.verdict))


def _idle_pct(running: Cluster, seconds: int) -> float:
    """Processor time of the first worker and its sending process while nothing is due, in per cent of a core."""
    family = running.workers["n1"].family()
    before, begun = sum(map(cpu_s, family)), time.monotonic()
    time.sleep(seconds)
    return (sum(map(cpu_s, family)) - before) / (time.monotonic() - begun) * 100


def _list_pages(client: Client, size: int) -> list[float]:
    """Milliseconds of pages of the job list: from the first by cursor, and by prefixes all over the list."""
    took: list[float] = []
    cursor = ""
    for _ in range(_WALK):
        answer = client.ask("GET", f"/api/v1/jobs?limit=50{cursor}")
        took.append(answer.took_ms)
        following = answer.json()["next_cursor"]
        cursor = f"&cursor={quote(following)}" if following else ""
    for number in range(_PAGES - _WALK):
        prefix = f"sparse-{number * (size // _PAGES):07}"[:-2]
        took.append(client.ask("GET", f"/api/v1/jobs?limit=50&name_prefix={prefix}").took_ms)
    return took


SCENARIO = Scenario(
    name="scale",
    about="--size jobs that are not due: restart, idle cost, memory, lists, and the throughput of --rate others",
    full=Setup(duration_s=30, rate_per_s=14_000, size=1_000_000),
    quick=Setup(runs=1, duration_s=4, rate_per_s=1_000, size=10_000),
    measure=measure,
    notes={"misfire_grace": GRACE},
)
