"""Noticing that the wall clock was moved."""

from __future__ import annotations

from typing import Final, NamedTuple

from chronos_common.clock import Clock

THRESHOLD_MS: Final = 500
"""Smaller differences are slewing and rounding."""
_READING_S: Final = 0.05
"""Both clocks are read within this; a reading that took longer was interrupted, and is made again."""
_READINGS: Final = 3


class ClockStep(NamedTuple):
    """The wall clock was moved by `by_ms`, at some moment after `since_s` (monotonic seconds).

    `before` is what it would show now had it not been moved, `after` what it shows: ms since the epoch.
    """

    by_ms: int
    since_s: float
    before: int
    after: int


class ClockWatch:
    """Compares how far the wall clock and the monotonic clock moved since the last look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_at_s = clock.monotonic_s()
        self._offset_ms = clock.now_ms() - int(self._looked_at_s * 1_000)

    def look(self) -> ClockStep | None:
        """How the wall clock was moved since the last look; None if it only ran."""
        since_s = self._looked_at_s
        for _ in range(_READINGS):
            began_s = self._clock.monotonic_s()
            wall = self._clock.now_ms()
            if self._clock.monotonic_s() - began_s <= _READING_S:
                break
        else:
            return None  # never left alone long enough to read two clocks: the next look compares with the last
        offset = wall - int(began_s * 1_000)
        moved = offset - self._offset_ms
        self._offset_ms, self._looked_at_s = offset, began_s
        return ClockStep(moved, since_s, wall - moved, wall) if abs(moved) >= THRESHOLD_MS else None
