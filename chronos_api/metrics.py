"""The metrics page: this tier's HTTP figures and everything the workers count."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Final

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics

from chronos_api.cluster_client import ClusterClient
from chronos_api.guard import needs
from chronos_common.protocol import MetricFamily

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


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


class Stopwatch:
    """Measures requests by method, route (never by job) and status.

    The exporter's own measuring looks its labels up anew at every request, which is a tenth of a short one.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._took = Histogram(
            "chronos_api_http_request_duration_seconds",
            "How long requests took.",
            ["method", "url_rule", "status"],
            registry=registry,
        )
        self._known: dict[tuple[str, str, int], Histogram] = {}

    def start(self) -> None:
        """A request begins."""
        g.began_s = perf_counter()

    def stop(self, response: Response) -> Response:
        """It has an answer."""
        asked = request
        # What is neither a route nor a method is the caller's choice, and there may be any number of them.
        route = "" if asked.url_rule is None else asked.url_rule.rule
        labels = (asked.method if asked.method in _METHODS else "other", route, response.status_code)
        took = self._known.get(labels)
        if took is None:
            took = self._known[labels] = self._took.labels(*labels)
        took.observe(perf_counter() - g.began_s)
        return response


def register(app: Flask, client: ClusterClient, path: str) -> None:
    """Measure all requests from here on, and serve the page at `path`."""
    exporter = PrometheusMetrics(app, path=None, export_defaults=False, registry=CollectorRegistry())
    stopwatch = Stopwatch(exporter.registry)
    app.before_request(stopwatch.start)
    app.after_request(stopwatch.stop)

    @needs("read")
    def page() -> Response:
        ours, content_type = exporter.generate_metrics()
        workers = CollectorRegistry()
        workers.register(WorkerCollector(client))
        return Response(ours.encode() + generate_latest(workers), content_type=content_type)

    app.add_url_rule(path, "metrics", page)
