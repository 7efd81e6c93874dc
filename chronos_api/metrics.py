"""The metrics page: this tier's HTTP figures and everything the workers count."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask, Response
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics

from chronos_api.cluster_client import ClusterClient
from chronos_api.guard import needs
from chronos_common.protocol import MetricFamily


class WorkerCollector(Collector):
    """The workers' families: of the cluster's own once, of each node's own with a `node` label."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client

    def collect(self) -> Iterable[Metric]:
        """Ask every worker now."""
        found: dict[str, Metric] = {}
        up = Metric("chronos_worker_up", "Whether a worker answered this scrape.", "gauge")
        for url, families in self._client.metrics().items():
            up.add_sample("chronos_worker_up", {"worker": url}, float(families is not None))
            for family in families or ():
                _add(found, family, url)
        return [up, *found.values()]


def _add(found: dict[str, Metric], family: MetricFamily, url: str) -> None:
    if family.scope == "cluster" and family.name in found:
        return
    metric = found.setdefault(family.name, Metric(family.name, family.help, family.kind))
    extra = {} if family.scope == "cluster" else {"worker": url}
    for sample in family.samples:
        metric.add_sample(family.name + sample.suffix, {**sample.labels, **extra}, sample.value)


def register(app: Flask, client: ClusterClient, path: str, multiprocess_dir: str | None) -> None:
    """Measure requests by route (never by job) and serve the page at `path`."""
    registry = CollectorRegistry()
    PrometheusMetrics(
        app,
        path=None,
        registry=None if multiprocess_dir else registry,
        group_by="url_rule",
        defaults_prefix="chronos_api",
    )

    @needs("read")
    def page() -> Response:
        shown = registry
        if multiprocess_dir:
            shown = CollectorRegistry()
            multiprocess.MultiProcessCollector(shown, path=multiprocess_dir)  # type: ignore[no-untyped-call]
        workers = CollectorRegistry()
        workers.register(WorkerCollector(client))
        return Response(generate_latest(shown) + generate_latest(workers), content_type="text/plain; version=0.0.4")

    app.add_url_rule(path, "metrics", page)
