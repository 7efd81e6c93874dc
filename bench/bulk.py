"""Very many jobs through the batch endpoint, over several connections at once."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from bench.cluster import Cluster
from bench.load import BATCH, batch_body, post_batch
from bench.processes import BenchFailed

CONNECTIONS = 4
_MONTHS_AHEAD = (3, 4, 5, 6, 7, 8, 9)
SCHEDULES = len(_MONTHS_AHEAD) * 1_440
"""Different schedules among the jobs: every minute of a day in each of these months."""


def sparse(prefix: str, count: int, url: str) -> Iterator[dict[str, Any]]:
    """Jobs that are not due for two months and more."""
    this_month = datetime.datetime.now(datetime.UTC).month
    for number in range(count):
        month = (this_month - 1 + _MONTHS_AHEAD[number % len(_MONTHS_AHEAD)]) % 12 + 1
        schedule = f"{number % 60} {number // 60 % 24} 1 {month} *"
        yield {"name": f"{prefix}{number:07}", "schedule": schedule, "webhook": {"url": url}}


def load_many(cluster: Cluster, jobs: Iterator[dict[str, Any]]) -> float:
    """Create jobs; returns the seconds it took.

    Raises:
        BenchFailed: one was not created.
    """
    lock = threading.Lock()
    failures: list[str] = []

    def work() -> None:
        try:
            with cluster.client() as client:
                while not failures:
                    with lock:
                        part = list(islice(jobs, BATCH))
                    if not part:
                        return
                    post_batch(client, batch_body(part))
        except (BenchFailed, OSError) as error:
            failures.append(str(error))

    begun = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise BenchFailed(failures[0])
    return time.monotonic() - begun
