"""When a program that ended is started again, and when no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

REFUSALS: Final = frozenset({2, 3, 4})
"""Exit statuses by which a program says that starting it again would change nothing: its configuration (2),
its data directory (3), its port (4)."""


@dataclass(slots=True)
class Restarts:
    """Pauses between the lives of one program, in seconds: doubling, bounded, and counted.

    A life of `steady_s` or more starts the count anew; after `limit` short lives in a row there is no next.
    """

    first_s: float = 0.5
    longest_s: float = 15.0
    steady_s: float = 10.0
    limit: int = 8
    _in_a_row: int = field(default=0, init=False)

    def pause_s(self, status: int, lived_s: float) -> float | None:
        """How long to wait before the next start; None: do not start it again."""
        if status in REFUSALS:
            return None
        if lived_s >= self.steady_s:
            self._in_a_row = 0
        self._in_a_row += 1
        if self._in_a_row > self.limit:
            return None
        return float(min(self.longest_s, self.first_s * 2 ** (self._in_a_row - 1)))
