"""What a node holds in memory with many jobs, each of which runs once a minute while it is watched."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.cluster import Cluster, cluster
from bench.ledger import Due, read_jobs
from bench.load import Window, load, next_window
from bench.machine import children, memory
from bench.processes import BenchFailed, now_ms, sleep_until
from bench.scenario import Place, Run, Scenario, Setup, judge
from bench.sink import sink

_MINUTE_MS = 60_000
_LOOK_S = 0.5


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """One run on a fresh cluster, again and again."""
    assert setup.size is not None
    assert setup.duration_s is not None
    for _ in range(setup.runs):
        directory = place.new()
        with cluster(directory / "cluster", setup.nodes) as running, sink(directory / "sink") as target:
            at = next_window(setup.size, setup.duration_s)
            offsets = [number % min(60, at.seconds) for number in range(setup.size)]
            with running.client() as client:
                load(client, (_job(number, offset, at, target.url) for number, offset in enumerate(offsets)))
            if now_ms() >= at.span.first:
                raise BenchFailed(f"loading {setup.size} jobs took too long for their window")
            loaded = memory(running.workers["n1"].pid)
            sleep_until(at.span.first)
            metrics = _watch(running, at)
            running.settle(at.span.until, 60 + setup.size / 500)
            target.stop()
            jobs = read_jobs(running.databases[0], "memory-")
            due = [
                Due(job.seq, at.span.first + offset * 1_000, at.span.until, _MINUTE_MS)
                for job, offset in zip(jobs, offsets, strict=True)
            ]
            verdict = judge(running, due, at.span, target.arrivals(at.span))
            yield Run({**metrics, "loaded_rss_mb": loaded.rss_mb}, verdict)


def _job(number: int, offset: int, at: Window, url: str) -> dict[str, object]:
    second = at.span.first % _MINUTE_MS // 1_000 + offset
    schedule = f"{second} {at.schedule.split(' ', 1)[1]}"
    return {"name": f"memory-{number:07}", "schedule": schedule, "webhook": {"url": url}}


def _watch(running: Cluster, at: Window) -> dict[str, float]:
    """The most that the first worker and its sending process held, until the window is over."""
    pid = running.workers["n1"].pid
    (sender,) = children(pid)
    peaks = {"rss_mb": 0.0, "anonymous_mb": 0.0, "sender_rss_mb": 0.0}
    while now_ms() < at.span.until:
        worker = memory(pid)
        seen = {"rss_mb": worker.rss_mb, "anonymous_mb": worker.anonymous_mb, "sender_rss_mb": memory(sender).rss_mb}
        peaks = {name: max(peak, seen[name]) for name, peak in peaks.items()}
        time.sleep(_LOOK_S)
    return peaks


SCENARIO = Scenario(
    name="memory",
    about="--size jobs that each run once a minute: the most memory a worker holds",
    full=Setup(duration_s=60, size=10_000),
    quick=Setup(runs=1, duration_s=6, size=4_000),
    measure=measure,
)
