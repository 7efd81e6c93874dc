"""What Chronos is held to on two cores: how much must be reached, and how much would be good."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Kept = Literal["goal", "kept", "missed"]


class Target(NamedTuple):
    """Bounds on the median of a metric: below both of them (`≤`) or above (`≥`)."""

    scenario: str
    nodes: int
    metric: str
    relation: Literal["≤", "≥"]
    must: float
    goal: float

    def judge(self, median: float) -> Kept:
        """Whether a median reaches the goal, keeps what it must, or misses it."""
        sign = 1 if self.relation == "≥" else -1
        if sign * median >= sign * self.goal:
            return "goal"
        return "kept" if sign * median >= sign * self.must else "missed"


TARGETS: Final = (
    Target("throughput", 1, "executions_per_s", "≥", 5_000, 10_000),
    Target("throughput", 3, "executions_per_s", "≥", 2_000, 5_000),
    Target("punctuality", 3, "lateness_p50_ms", "≤", 5, 5),
    Target("punctuality", 3, "lateness_p99_ms", "≤", 50, 15),
    Target("burst", 1, "last_dispatch_s", "≤", 4, 1.5),
    Target("burst", 1, "api_p99_ms", "≤", 200, 200),
    Target("scale", 1, "ready_s", "≤", 5, 5),
    Target("scale", 1, "idle_cpu_pct", "≤", 3, 3),
    Target("scale", 1, "rss_mb", "≤", 300, 300),
    Target("scale", 1, "list_p99_ms", "≤", 20, 20),
    Target("scale", 1, "to_alone_pct", "≥", 80, 95),
    Target("load", 1, "jobs_per_s", "≥", 10_000, 25_000),
    Target("history", 1, "to_empty_pct", "≥", 80, 95),
    Target("history", 1, "newest_page_p99_ms", "≤", 20, 20),
    Target("history", 1, "pruning_lateness_max_ms", "≤", 50, 50),
    Target("failover", 3, "gap_p50_s", "≤", 2.5, 1),
    Target("failover", 3, "gap_max_s", "≤", 5, 2),
    Target("api", 3, "create_p50_ms", "≤", 10, 10),
    Target("api", 3, "create_p99_ms", "≤", 50, 50),
    Target("api", 3, "read_p99_ms", "≤", 20, 20),
    Target("api", 3, "api_process_to_bare_pct", "≥", 40, 60),
    Target("memory", 1, "rss_mb", "≤", 100, 80),
    Target("slow_targets", 1, "request_kb", "≤", 40, 40),
)


def targets_of(scenario: str, nodes: int) -> Iterable[Target]:
    """What one scenario is held to."""
    return (target for target in TARGETS if (target.scenario, target.nodes) == (scenario, nodes))
