"""The API under a mixed load, and what a read costs beside a bare Flask route under the same server."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import orjson

from bench.bare_flask import VARIABLE
from bench.client import Answer, Client
from bench.cluster import Cluster, cluster
from bench.hammer import hammer
from bench.machine import cpu_s
from bench.prober import Prober, pages
from bench.processes import Process, accepts, wait_for
from bench.scenario import Place, Run, Scenario, Setup
from bench.statistics import percentile

CREATES_PER_S = 50
READS_PER_S = 100
RATE_LIMIT = 1_000_000
"""The limit as shipped (500 a second for each client) would be what the comparison measures."""
_JOBS = 100
_URL = "http://127.0.0.1:9/"
_HAMMER_SHARE = 4
"""The comparison takes a quarter of the duration for each of the two."""


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """One run on a fresh cluster, again and again."""
    assert setup.duration_s is not None
    limit = {"rate_limit": {"requests_per_second": RATE_LIMIT, "burst": RATE_LIMIT}}
    for _ in range(setup.runs):
        with cluster(place.new(), setup.nodes, limit) as running:
            with running.client() as client:
                paths = [
                    f"/api/v1/jobs/{client.want(201, 'POST', '/api/v1/jobs', _job(n))['id']}" for n in range(_JOBS)
                ]
                body = client.ask("GET", paths[0]).body
            term = running.leader().term
            metrics = _mixed(running, paths, setup.duration_s)
            metrics |= _compared(running, paths[0], body, setup.duration_s / _HAMMER_SHARE)
            metrics["leader_changes_count"] = running.leader().term - term
            yield Run(metrics)


def _job(number: int) -> dict[str, object]:
    """A job that is not due for months."""
    return {"name": f"api-{number:07}", "schedule": "0 0 29 2 *", "webhook": {"url": _URL}}


def _mixed(running: Cluster, paths: list[str], duration_s: int) -> dict[str, float]:
    """Creates and reads of single jobs, each at its pace."""
    numbers = count(_JOBS)

    def create(client: Client, _turn: int) -> Answer:
        key = {"Idempotency-Key": secrets.token_hex(16)}
        return client.ask("POST", "/api/v1/jobs", orjson.dumps(_job(next(numbers))), key)

    with (
        Prober(running.client, create, rate_per_s=CREATES_PER_S, status=201) as creates,
        Prober(running.client, pages(paths), rate_per_s=READS_PER_S) as reads,
    ):
        time.sleep(duration_s)
    return {
        "create_p50_ms": percentile(creates.took_ms, 50),
        "create_p99_ms": percentile(creates.took_ms, 99),
        "read_p50_ms": percentile(reads.took_ms, 50),
        "read_p99_ms": percentile(reads.took_ms, 99),
    }


def _compared(running: Cluster, path: str, body: bytes, seconds: float) -> dict[str, float]:
    """The highest rate of reads, and that of the bare route in the API's place."""
    assert running.api is not None
    reads_per_s, read_us = _hammered(running.api, running.api_port, path, seconds)
    running.stop_api()
    config = str(running.directory / "api.yaml")
    argv = [sys.executable, "-m", "bench.bare_flask", "--config", config]
    with closing(Process(argv, running.directory / "bare.log", {VARIABLE: body.decode()})) as bare:
        wait_for(lambda: accepts(running.api_port), "the bare Flask server to listen", process=bare)
        bare_per_s, bare_us = _hammered(bare, running.api_port, "/", seconds)
    return {
        "read_per_s": reads_per_s,
        "bare_per_s": bare_per_s,
        "read_to_bare_pct": reads_per_s / bare_per_s * 100,
        "read_cpu_us": read_us,
        "bare_cpu_us": bare_us,
        "api_process_to_bare_pct": bare_us / read_us * 100,
    }


def _hammered(server: Process, port: int, path: str, seconds: float) -> tuple[float, float]:
    """Answers a second, and processor microseconds of the server's processes for each."""
    hammer(port, path, seconds=min(1.0, seconds))
    before = sum(map(cpu_s, server.family()))
    rate = hammer(port, path, seconds=seconds)
    used = sum(map(cpu_s, server.family())) - before
    return rate.per_s, used / rate.answers * 1e6


SCENARIO = Scenario(
    name="api",
    about="50 creates and 100 reads a second through the API; then reads at full rate against a bare Flask route",
    full=Setup(nodes=3, duration_s=60),
    quick=Setup(nodes=3, runs=1, duration_s=6),
    measure=measure,
    notes={"creates_per_s": str(CREATES_PER_S), "reads_per_s": str(READS_PER_S), "rate_limit": "off"},
)
