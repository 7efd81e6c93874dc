"""How late an attempt began, measured so that moving a wall clock, or clocks that differ, are no lateness."""

from __future__ import annotations

from typing import Final, NamedTuple

from chronos_common.clock import Clock
from chronos_worker.clock_watch import THRESHOLD_MS, ClockStep
from chronos_worker.dispatch import DeliveryResult

LONGEST_WAY_MS: Final = 2_000
"""A decision is here within this, or its leader has another clock than we."""


class Moment(NamedTuple):
    """Both clocks of this node, read together: ms since the epoch, and monotonic seconds."""

    wall: int
    mono_s: float


class Begun(NamedTuple):
    """An attempt was handed to this node `late_ms` after its occurrence was due, at this moment."""

    late_ms: int
    moment: Moment


class Lateness:
    """Knows the steps of this node's wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stepped_since_s = float("-inf")
        self._stepped_ms = 0

    def clock_stepped(self, step: ClockStep) -> None:
        """Our wall clock was moved."""
        self._stepped_since_s = step.since_s
        self._stepped_ms += step.by_ms

    def now(self) -> Moment:
        """Read the clocks, once for many attempts."""
        return Moment(self._clock.now_ms(), self._clock.monotonic_s())

    def begun(self, fire_time: int, at: int, now: Moment) -> Begun:
        """An attempt is handed to this node; the leader decided it when its own clock showed `at`.

        By our clock, if both clocks go alike, which counts the way through the log as well. What our clock was
        moved over was due when it was moved, and not before.
        """
        wall, mono_s = now
        late_ms = wall - fire_time
        if not -THRESHOLD_MS < wall - at < LONGEST_WAY_MS or self._we_alone_stepped(wall - at):
            late_ms = min(late_ms, at - fire_time)
        if late_ms > 0 and late_ms > (since_step_ms := (mono_s - self._stepped_since_s) * 1_000):
            late_ms = int(since_step_ms)
        return Begun(max(0, late_ms), now)

    def of(self, begun: Begun, result: DeliveryResult, now: Moment) -> int:
        """How long after its occurrence was due the request of this attempt, which has ended, began; ms."""
        late_ms, (wall, mono_s) = begun
        waited_ms = result.started_at - wall
        # exact by the wall clock, and bounded by the monotonic one: the wall clock may have been moved since
        longest_ms = (now.mono_s - mono_s) * 1_000 - (result.finished_at - result.started_at)
        if not 0 <= waited_ms <= longest_ms:
            waited_ms = int(longest_ms) if waited_ms > 0 < longest_ms else 0
        return late_ms + waited_ms

    def _we_alone_stepped(self, apart_ms: int) -> bool:
        """Whether our clock is that far from the leader's because ours was moved."""
        return self._stepped_ms != 0 and abs(apart_ms - self._stepped_ms) < THRESHOLD_MS
