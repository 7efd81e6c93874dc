"""How often a value fell where: what a Prometheus histogram shows.

`prometheus_client` takes a lock for each of the three numbers it changes, which is ten times what changing them
takes; and here thousands of attempts a second end on one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.utils import floatToGoString


class Distribution:
    """Counts by upper bounds, which belong to what they bound. One thread notes, any may look."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def note(self, value: float) -> None:
        """A value was seen."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """How many were at or below each bound, as the text format wants them: the last is of all."""
        total, shown = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            shown.append((floatToGoString(bound), float(total)))  # type: ignore[no-untyped-call]
        return shown
