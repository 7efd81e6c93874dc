"""What a scenario is: how it is set up by default and in a hurry, and how it is measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.cluster import Cluster
from bench.ledger import Due, Span, Totals, Verdict, check, read_rows, replicas_agree
from bench.processes import BenchFailed
from bench.sink import Arrival, counted


class Setup(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run is made of; None where a scenario has no such thing."""

    nodes: int = 1
    runs: int = 5
    duration_s: int | None = None
    rate_per_s: int | None = None
    size: int | None = None

    def settings(self) -> dict[str, Any]:
        """What is published of it."""
        shown: dict[str, Any] = {
            name: value for name, value in msgspec.structs.asdict(self).items() if value is not None
        }
        del shown["nodes"]
        return shown


@dataclass
class Run:
    """What one run measured, and what became of its occurrences."""

    metrics: dict[str, float]
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def totals(self) -> Totals:
        """The ledger's part."""
        return self.verdict.totals


@dataclass
class Place:
    """Where a scenario keeps its data: a new directory for each run, and none left behind."""

    root: Path
    _count: int = 0

    def new(self) -> Path:
        """An empty place to be made; the one before is given up."""
        if self._count:
            shutil.rmtree(self.root / str(self._count), ignore_errors=True)
        self._count += 1
        return self.root / str(self._count)


@dataclass(frozen=True)
class Scenario:
    """A scenario. `measure` yields one run after another, `Setup.runs` of them."""

    name: str
    about: str
    full: Setup
    quick: Setup
    measure: Callable[[Setup, Place], Iterator[Run]]
    notes: dict[str, str] = field(default_factory=dict)
    """Settings that are the same in every run, published with it."""
    also: Callable[[Setup], Sequence[Setup]] = lambda _setup: ()
    """Further setups of which a whole sitting consists."""


def judge(cluster: Cluster, due: list[Due], span: Span, arrivals: list[Arrival]) -> Verdict:
    """Check a span of the ledger of a settled cluster, on all its replicas.

    Raises:
        BenchFailed: the replicas differ.
    """
    if not replicas_agree(cluster.databases, span):
        raise BenchFailed("the replicas hold different rows of the same executions")
    return check(due, read_rows(cluster.databases[0], span), counted(arrivals))
