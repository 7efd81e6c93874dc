"""What this worker counts and measures, and how it tells it to the API tier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from chronos_common.models import AttemptStatus
from chronos_common.protocol import Counts, MetricFamily, Sample, WorkerStatus
from chronos_worker.dispatch import DeliveryResult
from chronos_worker.distribution import Distribution

_LATENESS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)
_DURATION_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_COMMIT_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """Distributions and counters of one worker process. Observed on the node's thread, read on any."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._durations = {status: Distribution(_DURATION_S) for status in AttemptStatus}
        self._lateness = Distribution(_LATENESS_S)
        self._commit = Distribution(_COMMIT_S)
        self._clock_steps = Counter(
            "chronos_clock_steps",
            "Times the wall clock was moved against the monotonic clock.",
            registry=self.registry,
        )
        self._control_refused = Counter(
            "chronos_control_refused",
            "Requests to the control port that were turned away, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._differences = Counter(
            "chronos_replica_differences",
            "Reports that showed another digest of the rows at the same index.",
            registry=self.registry,
        )

    def attempt_ended(self, result: DeliveryResult, lateness_ms: int) -> None:
        """An attempt ended that had begun this long after its occurrence was due."""
        self._durations[result.status].note((result.finished_at - result.started_at) / 1_000)
        if result.attempt == 1:
            self._lateness.note(lateness_ms / 1_000)

    def plan_applied(self, after_s: float) -> None:
        """A plan was applied this long after it was proposed."""
        self._commit.note(after_s)

    def clock_stepped(self) -> None:
        """The wall clock was moved."""
        self._clock_steps.inc()

    def replicas_differ(self) -> None:
        """Nodes were found to have different rows."""
        self._differences.inc()

    def control_refused(self, reason: str) -> None:
        """The control port turned a request away. Any thread."""
        self._control_refused.labels(reason).inc()

    def families(self, status: WorkerStatus, counts: Counts, raft_refused: dict[str, int]) -> list[MetricFamily]:
        """Everything, as the API tier shows it: the worker's own, and the cluster's from the rows.

        `raft_refused`: how much the Raft port refused, by reason.
        """
        refused = _counter("chronos_raft_refused_total", "What the Raft port refused.", "reason", raft_refused)
        counters = self.registry.collect()
        own = [*self._histograms(), *counters, *_node_gauges(status), refused]
        shared = _cluster_metrics(counts)
        return [_family(metric, "node") for metric in own] + [_family(metric, "cluster") for metric in shared]

    def _histograms(self) -> Iterable[Metric]:
        took = HistogramMetricFamily(
            "chronos_execution_duration_seconds",
            "How long attempts took, from the start of the request to its end.",
            labels=["status"],
        )
        for status, duration in self._durations.items():
            took.add_metric([status.value], duration.buckets(), duration.sum)
        yield took
        yield HistogramMetricFamily(
            "chronos_lateness_seconds",
            "From the moment an occurrence was due to the start of its first attempt's request.",
            self._lateness.buckets(),
            self._lateness.sum,
        )
        yield HistogramMetricFamily(
            "chronos_commit_latency_seconds",
            "From proposing a plan to seeing it applied, on the leader.",
            self._commit.buckets(),
            self._commit.sum,
        )


def _node_gauges(status: WorkerStatus) -> Iterable[Metric]:
    values: dict[str, tuple[str, float]] = {
        "chronos_raft_is_leader": ("1 on the leader, else 0.", status.role == "leader"),
        "chronos_raft_peers": ("Other members of the cluster.", len(status.peers)),
        "chronos_raft_term": ("Current Raft term.", status.term),
        "chronos_raft_commit_index": ("Last log index known committed.", status.commit_index),
        "chronos_raft_applied_index": ("Last log index applied to the rows.", status.applied_index),
        "chronos_raft_journal_bytes": ("Length of the log on disk.", status.journal_bytes),
        "chronos_database_bytes": ("Length of the database on disk.", status.database_bytes),
        "chronos_snapshot_age_seconds": ("Since the log was last cut.", status.snapshot_age_ms / 1_000),
        "chronos_leader_contact_age_seconds": (
            "Since a leader was last heard; 0 on it.",
            status.age_ms / 1_000,
        ),
        "chronos_dispatch_in_flight": ("Deliveries this worker is making.", status.in_flight),
        "chronos_dispatch_queue_depth": ("Deliveries waiting for a sending process.", status.queue_depth),
        "chronos_circuit_breakers_open": ("Target hosts left alone for now.", status.breakers_open),
        "chronos_worker_ready": ("1 while the worker takes part in the work.", status.ready),
    }
    for name, (text, value) in values.items():
        yield GaugeMetricFamily(name, text, value=float(value))
    skew = GaugeMetricFamily(
        "chronos_clock_skew_seconds", "A node's wall clock minus the leader's, told by the leader.", labels=["node"]
    )
    for clock in status.clocks:
        skew.add_metric([clock.node_id], clock.offset_ms / 1_000)
    yield skew


def _cluster_metrics(counts: Counts) -> Iterable[Metric]:
    yield GaugeMetricFamily("chronos_jobs_total", "Jobs defined.", value=counts.jobs)
    yield GaugeMetricFamily("chronos_jobs_enabled", "Jobs enabled.", value=counts.jobs_enabled)
    active = GaugeMetricFamily("chronos_executions_active", "Executions not ended.", labels=["status"])
    active.add_metric(["pending"], counts.pending)
    active.add_metric(["running"], counts.running)
    yield active
    yield _counter("chronos_executions_total", "Executions by how they ended.", "status", counts.executions)
    yield _counter("chronos_skipped_total", "Occurrences not run, by reason.", "reason", counts.skipped)
    retries = Metric("chronos_retries", "Attempts after the first.", "counter")
    retries.add_sample("chronos_retries_total", {}, counts.retries)
    yield retries


def _counter(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    metric = Metric(name.removesuffix("_total"), text, "counter")
    for key, value in sorted(values.items()):
        metric.add_sample(name, {label: key}, value)
    return metric


def _family(metric: Metric, scope: Literal["cluster", "node"]) -> MetricFamily:
    kind: Literal["counter", "gauge", "histogram"] = metric.type  # type: ignore[assignment]
    samples = tuple(
        Sample(sample.name.removeprefix(metric.name), dict(sample.labels), float(sample.value))
        for sample in metric.samples
        if not sample.name.endswith("_created")
    )
    return MetricFamily(metric.name, kind, metric.documentation, scope, samples)
