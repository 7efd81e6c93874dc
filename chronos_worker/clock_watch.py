"""Noticing that the wall clock was moved."""

from __future__ import annotations

from typing import Final

from chronos_common.clock import Clock

THRESHOLD_MS: Final = 500
"""Smaller differences are slewing and rounding."""


class ClockWatch:
    """Compares how far the wall clock and the monotonic clock moved since the last look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = self._read()

    def stepped_ms(self) -> int:
        """By how much the wall clock was moved since the last call; 0 if it only ran."""
        offset = self._read()
        moved = offset - self._offset_ms
        self._offset_ms = offset
        return moved if abs(moved) >= THRESHOLD_MS else 0

    def _read(self) -> int:
        return self._clock.now_ms() - int(self._clock.monotonic_s() * 1_000)
