"""Schedules without a calendar: every so often, and once."""

from __future__ import annotations

from typing import Final


class EverySchedule:
    """`@every PERIOD`: anchor + k x period for ever, whatever restarts or elections come between."""

    kind: Final = "every"

    def __init__(self, text: str, timezone: str, period_ms: int) -> None:
        self.text = text
        self.timezone = timezone
        self.period_ms = period_ms

    def next_after(self, instant: int, anchor: int) -> int:
        """The first fire time strictly after an instant; the anchor itself is none."""
        return anchor + max(1, (instant - anchor) // self.period_ms + 1) * self.period_ms

    def last_at_or_before(self, instant: int, anchor: int) -> int | None:
        """The last fire time not after an instant."""
        count = (instant - anchor) // self.period_ms
        return anchor + count * self.period_ms if count >= 1 else None

    def count_between(self, after: int, until: int, anchor: int, limit: int) -> int:
        """How many fire times lie in (after, until], at most limit + 1."""
        first = max(0, (after - anchor) // self.period_ms)
        last = max(0, (until - anchor) // self.period_ms)
        return min(max(0, last - first), limit + 1)


class OnceSchedule:
    """`@at INSTANT`: one fire time."""

    kind: Final = "once"

    def __init__(self, text: str, timezone: str, instant: int) -> None:
        self.text = text
        self.timezone = timezone
        self.instant = instant

    def next_after(self, instant: int, anchor: int) -> int | None:  # noqa: ARG002 - `Schedule` has it for @every
        """The fire time if it lies after an instant."""
        return self.instant if instant < self.instant else None

    def last_at_or_before(self, instant: int, anchor: int) -> int | None:  # noqa: ARG002
        """The fire time if it does not lie after an instant."""
        return self.instant if instant >= self.instant else None

    def count_between(self, after: int, until: int, anchor: int, limit: int) -> int:  # noqa: ARG002
        """1 if the fire time lies in (after, until]."""
        return int(after < self.instant <= until)
