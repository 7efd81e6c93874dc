"""How fast jobs come in through the batch endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from bench.bulk import CONNECTIONS, SCHEDULES, load_many, sparse
from bench.cluster import Usage, cluster
from bench.ledger import Totals, Verdict, read_jobs
from bench.load import BATCH
from bench.scenario import Place, Run, Scenario, Setup

_URL = "http://127.0.0.1:9/"


def measure(setup: Setup, place: Place) -> Iterator[Run]:
    """One run on a fresh cluster, again and again. Here the ledger counts jobs: accepted, and found in the rows."""
    assert setup.size is not None
    for _ in range(setup.runs):
        with cluster(place.new(), setup.nodes) as running:
            assert running.api is not None
            usage = Usage(running, api=running.api.family)
            took_s = load_many(running, sparse("load-", setup.size, _URL))
            metrics = usage.each_us(setup.size)
            found = len(read_jobs(running.databases[0], "load-"))
        totals = Totals(expected=setup.size, recorded=found, missing=setup.size - found)
        yield Run({"jobs_per_s": setup.size / took_s, **metrics}, Verdict(totals))


SCENARIO = Scenario(
    name="load",
    about="--size jobs through POST /api/v1/jobs:batch",
    full=Setup(size=1_000_000),
    quick=Setup(runs=1, size=20_000),
    measure=measure,
    notes={"batch": str(BATCH), "connections": str(CONNECTIONS), "schedules": str(SCHEDULES), "ledger_of": "jobs"},
)
