"""Time as a thing that is handed in."""

from __future__ import annotations

import time
from typing import Final, Protocol

# Counts the time a machine is suspended, so that waking up is a pause and not a step of the wall clock. Linux only.
_BOOT_TIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Both readings a program needs: what the world calls now, and what only ever moves forward."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since the epoch, UTC; may be stepped by its operator."""

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary origin; never steps."""


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return time.clock_gettime(_BOOT_TIME)
