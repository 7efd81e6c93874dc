"""Percentiles, and what several runs amount to."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

UNITS: Final = {
    "_per_s": "1/s",
    "_ms": "ms",
    "_us": "µs",
    "_s": "s",
    "_pct": "%",
    "_mb": "MB",
    "_kb": "kB",
    "_count": "",
}
"""The endings a metric's name may have, and the unit each stands for. The first that fits counts."""


class Figure(msgspec.Struct, frozen=True):
    """One metric over all runs."""

    median: float
    min: float
    max: float
    unit: str


def unit_of(name: str) -> str:
    """The unit a metric's name ends in.

    Raises:
        ValueError: it ends in none.
    """
    for ending, unit in UNITS.items():
        if f"_{name}".endswith(ending):
            return unit
    raise ValueError(f"the metric {name!r} ends in no unit; accepted: {', '.join(UNITS)}")


def figure(name: str, values: Sequence[float]) -> Figure:
    """What the values of one metric in several runs amount to, rounded to what can be read."""
    shown = [_rounded(value) for value in values]
    return Figure(_rounded(statistics.median(values)), min(shown), max(shown), unit_of(name))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` per cent of all values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values: nothing was measured")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 100)
    return float(ordered[max(0, int(rank) - 1)])


def _rounded(value: float) -> float:
    if abs(value) >= 1_000:
        return round(value)
    return round(value, 1 if abs(value) >= 10 else 3)
