"""Cron expressions in a time zone, through every change of its clock.

Two kinds of expression, as in Debian's cron: one with fixed hours names wall clock times, each of which
happens once a day whatever the clock does; one with a wildcard hour runs by elapsed time.
"""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from chronos_common.schedules.calendar import matches, next_local
from chronos_common.schedules.fields import Fields
from chronos_common.schedules.zones import from_seconds, next_transition, offset_at

_WINDOWS_S: Final = (60, 3_600, 86_400, 32 * 86_400, 367 * 86_400, 9 * 366 * 86_400, 45 * 366 * 86_400)
_APPROACH_S: Final = 2 * 86_400
_SEGMENT_S: Final = 2 * 86_400


class CronSchedule:
    """`Schedule` of kind cron. Instants are milliseconds; cron names whole seconds."""

    kind: Final = "cron"

    def __init__(self, text: str, timezone: str, fields: Fields, tz: ZoneInfo) -> None:
        self.text = text
        self.timezone = timezone
        self.fields = fields
        self.tz = tz
        self._last: tuple[int, int] = (0, 0)
        """A second that was asked about, and its answer, which is that of every second in between as well."""

    def next_after(self, instant: int, anchor: int) -> int | None:  # noqa: ARG002 - `Schedule` has it for @every
        """The first fire time strictly after an instant."""
        utc_s = instant // 1_000
        asked, answer = self._last
        if asked <= utc_s < answer:
            return answer * 1_000
        found = _next(self, utc_s)
        if found is None:
            return None
        self._last = (utc_s, found)
        return found * 1_000

    def last_at_or_before(self, instant: int, anchor: int) -> int | None:  # noqa: ARG002
        """The last fire time not after an instant, found by bisection over `next_after`."""
        until = instant // 1_000
        for window in _WINDOWS_S:
            low = until - window
            found = _next(self, low)
            if found is not None and found <= until:
                return self._bisect(found, until) * 1_000
        return None

    def count_between(self, after: int, until: int, anchor: int, limit: int) -> int:
        """How many fire times lie in (after, until]; stops counting one beyond `limit`."""
        return _count(self, after, until, anchor, limit)

    def _bisect(self, found: int, until: int) -> int:
        high = until
        while (following := _next(self, found)) is not None and following <= until:
            middle = (following + high) // 2
            beyond = _next(self, middle)
            if beyond is not None and beyond <= until:
                found = beyond
            else:
                found, high = following, middle
        return found


@lru_cache(maxsize=65_536)
def _next(schedule: CronSchedule, utc_s: int) -> int | None:
    """Shared by all jobs of one expression and zone: at one fire time they all ask the same."""
    if schedule.fields.elapsed:
        return _next_elapsed(schedule.fields, schedule.tz, utc_s)
    return _next_fixed(schedule.fields, schedule.tz, utc_s)


@lru_cache(maxsize=1_024)
def _count(schedule: CronSchedule, after: int, until: int, anchor: int, limit: int) -> int:
    count, at = 0, after
    while count <= limit:
        following = schedule.next_after(at, anchor)
        if following is None or following > until:
            break
        count, at = count + 1, following
    return count


def _next_fixed(fields: Fields, tz: ZoneInfo, utc_s: int) -> int | None:
    """The next wall clock time, placed in the world once.

    `_place` never runs backwards, so the first candidate placed after `utc_s` is the answer.
    """
    local: int | None = utc_s + offset_at(tz, utc_s)
    while local is not None:
        local = next_local(fields, local)
        if local is not None and (placed := _place(tz, local)) > utc_s:
            return placed
    return None


def _place(tz: ZoneInfo, local_s: int) -> int:
    """When the wall clock shows `local_s`: the first time if twice, the moment of the jump if never."""
    first = _instant(tz, local_s, fold=0)
    if offset_at(tz, first) + first == local_s:
        return first
    # A missing local time: fold 0 reads it with the offset before the jump, so `first` lies after the
    # jump and fold 1 before it.
    jump = next_transition(tz, _instant(tz, local_s, fold=1))
    return first if jump is None else jump


def _instant(tz: ZoneInfo, local_s: int, *, fold: int) -> int:
    return int(from_seconds(local_s).replace(tzinfo=tz, fold=fold).timestamp())


def _next_elapsed(fields: Fields, tz: ZoneInfo, utc_s: int) -> int | None:
    """The next instant whose wall clock reading is named, be it the first or the second time around."""
    at = utc_s
    while True:
        offset = offset_at(tz, at)
        local = next_local(fields, at + offset)
        if local is None:
            return None
        change = next_transition(tz, at)
        if local - offset < (at + _SEGMENT_S if change is None else change):
            return local - offset
        if change is None:
            # Nothing for two days: come up to the candidate, so that changes before it are seen.
            at = max(at + _SEGMENT_S - 1, local - offset - _APPROACH_S)
        elif matches(fields, change + offset_at(tz, change)):
            return change
        else:
            at = change


def dst_mark(tz: ZoneInfo, utc_s: int, *, named: bool) -> str | None:
    """What a clock change did: "fold", shown twice; "gap", moved here by a missing hour; else None."""
    moment = datetime.datetime.fromtimestamp(utc_s, tz)
    if moment.utcoffset() != moment.replace(fold=1 - moment.fold).utcoffset():
        return "fold"
    return None if named else "gap"
