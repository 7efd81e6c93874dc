"""A steady load: jobs of `@every 1s` created one after another, so that their phases spread over the second."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from bench.cluster import Cluster
from bench.ledger import Due, Span, read_jobs
from bench.processes import now_ms

PERIOD_MS: Final = 1_000
_LEAD_MS: Final = 1_500
"""From the last creation to the beginning of what is measured: every phase has come once by then."""


class Steady:
    """A load that goes on until `stop`."""

    def __init__(self, cluster: Cluster, rate_per_s: int, url: str, prefix: str = "steady-", **rest: Any) -> None:
        self._cluster = cluster
        self.prefix = prefix
        job = {"schedule": "@every 1s", "webhook": {"url": url}, **rest}
        with cluster.client() as client:
            self._ids = [
                client.want(201, "POST", "/api/v1/jobs", {"name": f"{prefix}{number:05}", **job})["id"]
                for number in range(rate_per_s)
            ]
        self.from_ms = now_ms() + _LEAD_MS

    def stop(self, timeout_s: float = 60.0) -> int:
        """Disable the jobs and wait until nothing runs; returns the instant up to which all had to fire."""
        until = now_ms()
        with self._cluster.client() as client:
            for job_id in self._ids:
                client.want(200, "POST", f"/api/v1/jobs/{job_id}/disable")
        self._cluster.settle(until, timeout_s)
        return until


def owed(database: Path, prefix: str, span: Span) -> list[Due]:
    """What the jobs of a steady load owe within a span: created_at + k seconds."""
    due = []
    for job in read_jobs(database, prefix):
        periods = max(1, -(-(span.first - job.created_at) // PERIOD_MS))
        due.append(Due(job.seq, job.created_at + periods * PERIOD_MS, span.until, PERIOD_MS))
    return due
